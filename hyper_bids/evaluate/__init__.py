"""True and predicted -> scores: latents, pictures, attributes, identification, with their tests.

Pure functions of arrays and tables; no files. A stage calls, in this order: `decoded.Decoded` (what is
evaluated), `participant.participant_metrics`, `statistics.participant_stats`, and for several participants
`group.group_metrics` and `group.group_stats`; `words.verdict` says a row of statistics in a sentence.
"""

from hyper_bids.evaluate.metrics import METRICS, BuiltinMetric

__all__ = ["METRICS", "BuiltinMetric"]
