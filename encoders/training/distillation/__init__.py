"""Self-distillation without labels: DINO, with a student that may see images in parts."""
