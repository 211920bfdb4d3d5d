"""Style and script of report pages: no other file, no request, light and dark, wide and narrow."""

STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --paper: #ffffff; --faint: #6a6a6a; --line: #d5d5d5; --soft: #f4f4f2;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #e69f00; --c5: #56b4e9; --bad: #b00020; --good: #00695c; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --paper: #16181b; --faint: #a0a0a0; --line: #3a3d42; --soft: #1f2226;
  --c0: #56b4e9; --c1: #f08c42; --c2: #35c49b; --c3: #e29cc4; --c4: #f0c04a; --c5: #7f9cf0; --bad: #ff8a80; --good: #6fd0bf; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem 1.2rem 3rem; color: var(--text); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0.5rem 0 0.2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; border-bottom: 1px solid var(--line); }
p.lead, figcaption, .note { color: var(--faint); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; }
th { vertical-align: bottom; } td.wide, .facts td { overflow-wrap: anywhere; }
td.wide { color: var(--faint); padding-bottom: 0.7rem; }
td:first-child:not(.wide), td.holds, td.broken, td.undecided { white-space: nowrap; }
.facts td:first-child { white-space: normal; min-width: 8rem; }
.number { text-align: right; } td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre { font: 0.85rem/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: 0.7rem; overflow-x: auto; overflow-wrap: normal; }
.holds { color: var(--good); } .broken { color: var(--bad); font-weight: 600; } .undecided { font-style: italic; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; } figcaption { font-size: 0.85rem; }
svg { width: 100%; height: auto; touch-action: pan-y; } svg text { fill: var(--text); font: 11px system-ui, sans-serif; }
svg .frame, svg .tick { stroke: var(--line); fill: none; } svg .hair { stroke: var(--faint); stroke-dasharray: 2 2; }
svg polyline, svg path { fill: none; stroke-width: 1.5; } svg circle { stroke: none; } svg path.spread { stroke-dasharray: none; }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); } .f3 { fill: var(--c3); } .f4 { fill: var(--c4); }
.f5 { fill: var(--c5); }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); } .s4 { stroke: var(--c4); }
.s5 { stroke: var(--c5); } .s1 { stroke-dasharray: 6 2; } .s2 { stroke-dasharray: 2 2; } .s3 { stroke-dasharray: 8 2 2 2; }
.key { display: inline-block; margin-right: 1rem; } .key svg { width: 1.6rem; height: 0.6rem; }
.values { min-height: 1.5em; font-variant-numeric: tabular-nums; }
@media (max-width: 40rem) { body { padding: 0.7rem 0.8rem 2rem; } table { font-size: 0.78rem; }
  th, td { padding-right: 0.45rem; } }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
"""

# The values under the pointer, of the figure it is in: `data-curves` has what was drawn, in the order of the key.
SCRIPT = """
for (const figure of document.querySelectorAll("figure[data-curves]")) {
  const drawn = JSON.parse(figure.dataset.curves), svg = figure.querySelector("svg.plot");
  const hair = svg.querySelector(".hair"), values = figure.querySelector(".values");
  const show = event => {
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    const said = [];
    let place = null, x = null;
    for (const curve of drawn.curves) {
      let best = 0;
      curve.px.forEach((p, i) => { if (Math.abs(p - at) < Math.abs(curve.px[best] - at)) best = i; });
      if (place === null) { place = curve.px[best]; x = curve.x[best]; }
      const spread = curve.low ? " (" + [curve.low, curve.high].map(a => Number(a[best]).toPrecision(3)).join(" … ") + ")" : "";
      said.push(curve.label + " " + Number(curve.y[best]).toPrecision(4) + spread);
    }
    if (place === null) return;
    hair.setAttribute("x1", place); hair.setAttribute("x2", place); hair.removeAttribute("visibility");
    values.textContent = drawn.xlabel + " " + Number(x).toPrecision(4) + ": " + said.join(", ");
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
}
"""
