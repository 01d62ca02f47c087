"""TRL's trainers as Tenyson runs them: arguments, callbacks, rollouts."""
