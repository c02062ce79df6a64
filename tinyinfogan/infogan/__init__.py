"""The paper: latents, losses, networks, one step."""
