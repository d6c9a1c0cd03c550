"""Reward classes `𝓡`: what the critic may answer with, one file each."""
