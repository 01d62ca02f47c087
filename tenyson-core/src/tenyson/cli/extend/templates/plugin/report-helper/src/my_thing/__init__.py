"""The report helper my-thing of Tenyson: samples on which no rollout was rewarded."""
