"""Chat with a model behind a URL, over the openai package: for judges, and for the engine `openai`. Imports nothing heavy."""
