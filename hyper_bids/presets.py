"""The published systems as sets of options (METHODS.md section 8).

Plain data: option name -> value. What a user gives besides a preset wins over it.
"""

from __future__ import annotations

from typing import Any

_HYPER_GLM: dict[str, Any] = {
    "glm": "lss",
    "lss_rest": "one",
    "noise_model": "ar1",
    "hrf": "spm",
    "drift": "cosine",
    "high_pass": 128.0,
    "confounds": "motion6",
}

_ADAM: dict[str, Any] = {
    "decoder": ["adam"],
    "n_epochs": 1500,
    "stopping": "epochs",
    "batch_size": 30,
    "learning_rate": 1e-5,
    "weight_decay": 0.01,
}

PRESETS: dict[str, dict[str, Any]] = {
    "hyper": {
        **_HYPER_GLM, **_ADAM,
        "response": "z", "select": "top-z", "n_voxels": 4096,
        "latent_generator": "pggan", "protocol": "hyper2022",
    },
    "dand": {
        **_HYPER_GLM,
        "response": "beta", "select": "all", "decoder": ["map"], "repeat_noise": False,
        "latent_generator": "dand", "protocol": "dand",
    },
    "vaegan": {
        "glm": "parametric", "noise_model": "ols", "hrf": "spm", "drift": "cosine", "high_pass": 128.0,
        "confounds": "motion6",
        "response": "beta", "select": "gain", "decoder": ["inversion"],
        "latent_generator": "vaegan", "protocol": "vaegan",
    },
    "eigenface": {
        **_HYPER_GLM, **_ADAM,
        "response": "z", "select": "top-z", "n_voxels": 4096,
        "encoder": "eigenface", "n_components": 512, "image_size": 64, "protocol": "hyper2022",
    },
    "identity": {
        **_HYPER_GLM,
        "response": "beta", "select": "all", "decoder": ["map"], "repeat_noise": False,
        "encoder": "identity", "image_size": 64, "protocol": "dand",
    },
}  # fmt: skip
"""HYPER (Dado et al. 2022), DAND (Gucluturk et al. 2017), VAE-GAN (VanRullen and Reddy 2019), and two baselines."""

PRESET_NAMES = tuple(PRESETS)
