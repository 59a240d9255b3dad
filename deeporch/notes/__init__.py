"""The notes of a library: where they come from, what they are called, one table and one tensor."""
