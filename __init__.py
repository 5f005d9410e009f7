"""ComfyUI-Zoetrope: turns pictures and clips into new video, trains the models that do it, and measures the result."""

if __package__:  # pytest imports this file as a lone module, where nothing relative can be reached

    async def comfy_entrypoint():
        """Called by ComfyUI once, when it loads the pack."""
        from .nodes import ZoetropeExtension

        return ZoetropeExtension()

    WEB_DIRECTORY = "./web"
