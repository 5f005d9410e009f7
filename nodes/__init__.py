"""The nodes, and how ComfyUI gets them."""

from ..host import ComfyExtension, io
from .clip import LoadCLIP
from .comparing import CompareBeforeAndAfter
from .evaluation import CLIPSimilarity, CompareVideos, EvaluateVideo
from .evaluation_report import EvaluationReport
from .footage import FootageFromVideos, LoadFootage, SplitFootage
from .footage_views import FootageReport, FootageToFrames, FramePairs
from .frames import ExtractFrames
from .lora import LoadLoRA
from .objects import PrepareObject
from .pictures import LoadPictures
from .resizing import ResizeFrames
from .saving import SaveFrames, SaveGif
from .sv3d import MakeCameraPath, SV3DOrbit
from .svd import LoadSVD, SVDImageToVideo
from .svd_chain import SVDChain
from .toyworld import MoonPhases, ToyWorldClip, ToyWorldVideos
from .training import TrainingReport, TrainSVDLoRA
from .watermark import ReadWatermark, Watermark

NODES: list[type[io.ComfyNode]] = [
    ToyWorldClip,
    ToyWorldVideos,
    ExtractFrames,
    ResizeFrames,
    SaveGif,
    SaveFrames,
    FootageFromVideos,
    LoadFootage,
    SplitFootage,
    FootageReport,
    FramePairs,
    FootageToFrames,
    LoadPictures,
    LoadSVD,
    LoadLoRA,
    SVDImageToVideo,
    SVDChain,
    SV3DOrbit,
    MakeCameraPath,
    PrepareObject,
    TrainSVDLoRA,
    TrainingReport,
    CompareBeforeAndAfter,
    Watermark,
    ReadWatermark,
    LoadCLIP,
    CLIPSimilarity,
    EvaluateVideo,
    CompareVideos,
    EvaluationReport,
    MoonPhases,
]


class ZoetropeExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
