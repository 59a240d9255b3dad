from . import Found, recordings
VERSION=1
def find(root): ...
read = recordings.read
