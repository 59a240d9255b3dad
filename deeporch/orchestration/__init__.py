"""From a target sound to ranked solutions."""
