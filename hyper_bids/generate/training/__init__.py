"""Training of DAND and of the VAE-GAN on a folder of pictures. `hyper_bids.workflow.training` is the way in."""
