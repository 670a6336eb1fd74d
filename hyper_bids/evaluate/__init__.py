"""True and predicted -> scores: latents, pictures, attributes, identification, with their tests.

Pure functions of arrays and tables; no files. A stage calls, in this order: `decoded.Decoded` (what is
evaluated), `participant.participant_metrics`, `stats.participant_stats`, then `further_tests.further_tests` and
`latent_table`, and for several participants `group.group_metrics`, `group.group_stats` and
`compare_models.compare_models`. Pictures under a published protocol: `image_protocols.apply_protocol`,
`natural_images.natural_image_scores`. docs/statistics.md says which test answers which question.
"""

from hyper_bids.evaluate.metrics import METRICS, BuiltinMetric

__all__ = ["METRICS", "BuiltinMetric"]
