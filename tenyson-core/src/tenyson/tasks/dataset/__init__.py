"""The task `dataset`: a file, or a data set of the Hugging Face Hub, without any Python of one's own."""
