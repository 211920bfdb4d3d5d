"""Laws of any model, on named tensors: symmetries found from gradients, watched while training, saved in files."""
