"""Solutions as files: WAV, MusicXML, MIDI, Orchidea's connection form. All are written atomically."""
