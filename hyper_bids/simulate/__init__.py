"""Datasets with known truth: BIDS folders whose brains are linear in the latents of what was shown.

``settings.py`` holds the options, ``design.py`` who is shown what and when, ``stimuli.py`` latents and pictures,
``brain.py`` a participant's voxels, ``bold.py`` their time courses, ``bids.py`` bytes of files, ``sidecars.py``
what the dataset says about itself, and ``dataset.py`` puts them together.
"""
