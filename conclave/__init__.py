"""The command line and composition root: builds everything, holds no rule."""
