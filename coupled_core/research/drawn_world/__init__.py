"""Scenes of known background, light and entity: drawing them, their captions and prompts."""
