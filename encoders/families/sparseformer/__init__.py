"""SparseFormer: latent tokens with regions of interest that sample what was seen."""
