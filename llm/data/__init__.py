"""Preference rows: reading the formats in use, checking them, turning them into token ids."""
