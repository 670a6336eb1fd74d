"""What was shown and what was recorded: BIDS layout, events, split, latents, confounds, volumes."""
