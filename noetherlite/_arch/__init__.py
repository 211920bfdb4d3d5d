"""Architectures composed of blocks: evaluated in float64 or modulo a prime, with the laws that their wiring gives."""
