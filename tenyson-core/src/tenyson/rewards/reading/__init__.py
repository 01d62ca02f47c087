"""What rewards read: the answer in a reply, the truth in a sample, text and numbers however they are written."""
