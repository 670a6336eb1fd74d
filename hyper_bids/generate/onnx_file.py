"""`ONNXGenerator`: any other network, as one self-contained ONNX file."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np

from hyper_bids.errors import InconsistentInput, MissingFiles, UsageError
from hyper_bids.generate.checks import checked_latents
from hyper_bids.weights import onnx_files
from hyper_bids.weights.canonical import Damaged, Refused

RANGE = (-1.0, 1.0)
"""Of the images, where no sidecar declares another."""

ROUNDINGS = ("nearest",)
MAX_SIDECAR_BYTES = 1 << 20
MAX_PIXELS = 1 << 26
CUDA_BATCH = 8
CODE: tuple[tuple[str, str], ...] = (
    (".py", "it is a Python file, that is, code"),
    (".pt2", "it is a program of torch.export, that is, code"),
)
"""File names that say what is not taken."""


class ONNXGenerator:
    """A generator from an ONNX file: float32 latents ``(n, L)`` to float32 images ``(n, 1 or 3, height, width)``.

    The file is looked through first (`hyper_bids.weights.onnx_files`): standard operators only, no data
    outside it. Beside ``FILE.onnx`` a ``FILE.json`` may declare ``{"latent_dim": L, "range": [low, high], "rounding":
    "nearest", "sha256": "..."}``; without it the range is -1 to 1. There is no gradient to the latents.

    Parameters
    ----------
    path : Path
    resolution : int or None
        Height and width in pixels; None is the network's own. A lower one, which must divide it, is the mean over
        squares of pixels.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
    n_threads : int or None
        Threads of ONNX Runtime on a CPU; None leaves it to it.

    Attributes
    ----------
    n_latents : int
    range : (low, high)
    opset : int
    sha256 : str
    notes : tuple of str
        What was assumed.

    Raises
    ------
    MissingFiles
        The file is not there, is damaged, or onnxruntime is not installed.
    InconsistentInput
        The file is refused, cannot be run, or contradicts its sidecar.
    UsageError
        A device or resolution that is not there.
    """

    space = "onnx"

    def __init__(
        self, path: Path, *, resolution: int | None = None, device: str = "cpu", n_threads: int | None = None
    ) -> None:
        self.path = Path(path)
        self._content = _content(self.path)
        try:
            signature = onnx_files.checked(self._content)
        except Damaged as error:
            raise MissingFiles(f"Generator {self.path} cannot be read: {error}. Get it again.") from error
        except Refused as error:
            raise InconsistentInput(f"Generator {self.path} is refused: {error}.") from error
        self.sha256 = hashlib.sha256(self._content).hexdigest()
        self.opset = signature.opset
        self.device, self.n_threads = device, n_threads
        self._names = signature.input_name, signature.output_name
        self._fixed_batch = signature.batch is not None
        self.notes: tuple[str, ...] = ()
        self.n_latents = self._declared(signature.n_latents)
        self._start()
        self._set_size(signature.image, resolution)

    @classmethod
    def load(cls, path: Path, **options) -> ONNXGenerator:
        """As the constructor."""
        return cls(path, **options)

    def generate(self, latents: np.ndarray) -> np.ndarray:
        """Return float32 images ``(n, height, width, 3)``, as the network gives them, from ``(n, n_latents)``.

        Raises
        ------
        InconsistentInput
            The latents are not ``(n, n_latents)``, or not finite; or the network fails.
        """
        values = checked_latents(latents, self.n_latents, self.space)
        made = [np.empty((0, *self.shape, 3), dtype=np.float32)]
        for start in range(0, len(values), self.batch_size):
            images = self._run(values[start : start + self.batch_size])
            if images.shape[2:] != self._made:
                raise InconsistentInput(f"Generator {self.path}: image sizes differ, {self._made} and {images.shape}.")
            images = np.broadcast_to(images, (len(images), 3, *images.shape[2:])).transpose(0, 2, 3, 1)
            height, width = self.shape
            squares = images.reshape(len(images), height, self._made[0] // height, width, self._made[1] // width, 3)
            made.append(squares.mean(axis=(2, 4), dtype=np.float32))
        return np.concatenate(made)

    @property
    def batch_size(self) -> int:
        """Latents that are given at once; one by one on a CPU, where an image then does not depend on its company."""
        return CUDA_BATCH if self.device.startswith("cuda") and not self._fixed_batch else 1

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_session"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._start()

    def _declared(self, n_latents: int | None) -> int:
        """Read the sidecar, set the range, and return the number of latents."""
        sidecar = self.path.with_suffix(".json")
        declared = _sidecar(sidecar) if sidecar.is_file() else {}
        self.range = _range(declared["range"], sidecar) if "range" in declared else RANGE
        if "range" not in declared:
            self.notes += (f"The range of the images is not declared in {sidecar.name}: -1 to 1 was assumed.",)
        if declared.get("rounding", "nearest") not in ROUNDINGS:
            raise InconsistentInput(f"{sidecar}: images are rounded to the nearest grey level, not otherwise.")
        checksum = declared.get("sha256", self.sha256)
        if str(checksum).lower() != self.sha256:
            raise InconsistentInput(f"{self.path} has SHA-256 {self.sha256}, but {sidecar.name} says {checksum!s:.64}.")
        dimension = declared.get("latent_dim", n_latents)
        if type(dimension) is not int or not 0 < dimension < 1 << 20:
            raise InconsistentInput(
                f'{self.path} does not say how many latents it takes; add "latent_dim" to {sidecar.name}.'
            )
        if n_latents is not None and dimension != n_latents:
            raise InconsistentInput(f"{self.path} takes {n_latents} latents, but {sidecar.name} says {dimension}.")
        return dimension

    def _start(self) -> None:
        """Give the checked bytes, not the path, to ONNX Runtime."""
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its own words go to stderr otherwise; ours say the same
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.intra_op_num_threads = self.n_threads or 0
        providers = _providers(self.device, onnxruntime.get_available_providers())
        if self.device == "auto":
            self.device = "cuda" if len(providers) > 1 else "cpu"
        try:
            # Without its fallback, which would take the CPU in silence where CUDA fails.
            self._session = onnxruntime.InferenceSession(self._content, options, providers=providers, enable_fallback=0)
        except _faults() as error:
            raise InconsistentInput(f"Generator {self.path}: ONNX Runtime refuses it: {_line(error)}") from error
        if self.device.startswith("cuda") and "CUDAExecutionProvider" not in self._session.get_providers():
            raise UsageError(f"--device {self.device}: ONNX Runtime cannot use CUDA here. Use --device cpu.")

    def _run(self, values: np.ndarray) -> np.ndarray:
        input_name, output_name = self._names
        try:
            (images,) = self._session.run([output_name], {input_name: np.ascontiguousarray(values)})
        except _faults() as error:
            raise InconsistentInput(f"Generator {self.path} fails: {_line(error)}") from error
        shape = getattr(images, "shape", ())
        if len(shape) != 4 or shape[0] != len(values) or shape[1] not in (1, 3) or 0 in shape:
            raise InconsistentInput(
                f"Generator {self.path} made an array of shape {shape} of {len(values)} latents; "
                f"images are ({len(values)}, 1 or 3, height, width)."
            )
        return images

    def _set_size(self, image: tuple[int | None, int | None, int | None], resolution: int | None) -> None:
        colours, height, width = image
        if None in (colours, height, width):
            _, _, height, width = self._run(np.zeros((1, self.n_latents), dtype=np.float32)).shape
        if height * width > MAX_PIXELS:
            raise InconsistentInput(f"Generator {self.path} makes images of {height} x {width} pixels: too many.")
        self._made = height, width
        self.shape = height, width
        if resolution is None:
            return
        if height != width or not 0 < resolution <= height or height % resolution:
            raise UsageError(f"This network makes {height} x {width} pixels; {resolution} is no divisor of that.")
        self.shape = int(resolution), int(resolution)
        if resolution < height:
            factor = height // resolution
            self.notes += (f"An ONNX network cannot be stopped early: each pixel is a mean of {factor} x {factor}.",)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise MissingFiles(f"Generator {path} is not there.")
    if path.stat().st_size > onnx_files.MAX_BYTES:
        raise InconsistentInput(f"Generator {path} is larger than 2 GiB, more than an ONNX file can be.")
    try:
        with path.open("rb") as file:
            head = file.read(512)
            what = _other_kind(path, head)
            if what is not None:
                raise InconsistentInput(f"Generator {path} is refused: {what}. Export the network to ONNX instead.")
            return head + file.read()
    except OSError as error:
        raise MissingFiles(f"Generator {path} cannot be read: {error}.") from error


def _other_kind(path: Path, head: bytes) -> str | None:
    """Say what a file is that is no ONNX, where that can be told."""
    if onnx_files.starts(head):
        return None
    for suffix, what in CODE:
        if path.suffix.lower() == suffix:
            return what
    if head.startswith(b"PK\x03\x04"):
        return "it is a zip, as TorchScript and PyTorch checkpoints are: code, or weights for --weights"
    if head[:1] == b"\x80":
        return "it is a pickle, that is, code, or weights for --weights"
    if head.lstrip().startswith((b"import ", b"from ", b"def ", b"class ", b"#!", b'"""')):
        return "it is a Python file, that is, code"
    return None


def _sidecar(path: Path) -> dict:
    try:
        if path.stat().st_size > MAX_SIDECAR_BYTES:
            raise InconsistentInput(f"{path} is far too large for a sidecar.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFiles(f"{path} cannot be read: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise InconsistentInput(f"{path} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InconsistentInput(f"{path} must be a JSON object.")
    return content


def _range(declared: object, sidecar: Path) -> tuple[float, float]:
    numbers = declared if isinstance(declared, list) else []
    if len(numbers) != 2 or not all(type(number) in (int, float) and abs(number) < 1e9 for number in numbers):
        raise InconsistentInput(f'{sidecar}: "range" must be [low, high], got {declared!s:.40}.')
    if not numbers[0] < numbers[1]:
        raise InconsistentInput(f'{sidecar}: "range" must be [low, high] with low < high, got {declared!s:.40}.')
    return float(numbers[0]), float(numbers[1])


def _onnxruntime():
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingFiles(
            "ONNX generators need onnxruntime, which is not installed: pip install 'hyper-bids[onnx]', "
            "or pip install onnxruntime."
        ) from error
    return onnxruntime


def _faults() -> tuple[type[BaseException], ...]:
    """Return what ONNX Runtime raises; its classes have no common base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = (value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception))
    return (*kinds, RuntimeError, ValueError, TypeError, UnicodeDecodeError, MemoryError)


def _providers(device: str, available: list[str]) -> list:
    match = re.fullmatch(r"cuda(?::(\d{1,3}))?", device)
    if match is None and device not in ("cpu", "auto"):
        raise UsageError(f"Unknown device {device!r}: cpu, cuda or cuda:N.")
    has_cuda = "CUDAExecutionProvider" in available
    if device == "cpu" or (device == "auto" and not has_cuda):
        return ["CPUExecutionProvider"]
    if not has_cuda:
        raise UsageError(f"--device {device}: this ONNX Runtime has no CUDA. Install onnxruntime-gpu, or use cpu.")
    cuda = ("CUDAExecutionProvider", {"device_id": int(match[1] or 0) if match else 0})
    return [cuda, "CPUExecutionProvider"]


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


__all__ = ["RANGE", "ONNXGenerator"]
