"""How steps chain: `run_pipeline` and the presets that it runs."""
