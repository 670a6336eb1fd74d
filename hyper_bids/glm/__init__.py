"""BOLD + events -> responses: HRF, design, streaming fit, exact z."""
