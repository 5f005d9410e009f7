"""Run a workflow without ComfyUI, queue one on a ComfyUI server, and the command line."""
