"""Contract checks that the author of a plugin can run on their own decoder."""

from hyper_bids.testing.decoder import DECODER_CHECKS, check_decoder

__all__ = ["DECODER_CHECKS", "check_decoder"]
