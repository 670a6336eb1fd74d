"""Published weight files as data: any known container, any known layout, one canonical form, and no code run."""

from hyper_bids.weights.canonical import Weights
from hyper_bids.weights.recognise import read_weights
from hyper_bids.weights.safetensors_files import write as write_safetensors

__all__ = ["Weights", "read_weights", "write_safetensors"]
