"""What everything leans on: checks, files, progress, audio, the machine."""
