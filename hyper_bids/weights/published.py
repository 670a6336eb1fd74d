"""The weight files that were published: what each is, and what is known about it without having it.

A checksum is given where the authors state one: in full, as the start of it that PyTorch puts into file names, or as
the two ends that a Git LFS pointer was quoted with. Nothing here is downloaded by itself: pages are the authors' own,
and `hyper-tools models fetch` takes the address that stands there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NON_COMMERCIAL = "CC BY-NC 4.0, as all of PGGAN's published weights: not for commercial use"
NVIDIA = "NVIDIA Source Code License: not for commercial use"
TORCHVISION = "BSD-3-Clause (torchvision); ImageNet's terms apply"
UNSTATED = "not stated for the weights: ask the authors"


@dataclass(frozen=True)
class Published:
    """One published file.

    Parameters
    ----------
    key : short name, for `hyper-tools models`
    file : the name that its authors gave it
    network : name for ``--generator`` or ``--features``
    option : ``--generator``, ``--features`` or ``--attributes``
    of : what it was trained on or made for, and who by
    paper : for which study it is needed
    bytes : exact size, or None; ``about`` is in MB where only that is known
    licence, page : as the authors say
    sha256 : the whole checksum, or empty
    sha256_start, sha256_end : what is known of it
    note : what one should know before using it
    """

    key: str
    file: str
    network: str
    option: str
    of: str
    paper: str
    licence: str
    page: str
    bytes: int | None = None
    about: float | None = None
    sha256: str = ""
    sha256_start: str = ""
    sha256_end: str = ""
    note: str = ""

    @property
    def size(self) -> str:
        """Size in words."""
        if self.bytes is not None:
            return f"{self.bytes / 1e6:.1f} MB"
        return "size unknown" if self.about is None else f"about {self.about:g} MB"

    @property
    def checksum(self) -> str:
        """What is known of the SHA-256, in words."""
        if self.sha256:
            return self.sha256
        if self.sha256_start or self.sha256_end:
            return f"{self.sha256_start}...{self.sha256_end}"
        return "none known"

    def fits(self, sha256: str) -> bool | None:
        """Say whether a checksum agrees with what is known; None where nothing is."""
        if self.sha256:
            return sha256 == self.sha256
        if not (self.sha256_start or self.sha256_end):
            return None
        return sha256.startswith(self.sha256_start) and sha256.endswith(self.sha256_end)


PUBLISHED: tuple[Published, ...] = (
    Published(
        "hyper-pggan", "generator.params", "pggan", "--generator", "CelebA-HQ 1024 px, MXNet (Dado et al.)",
        "HYPER 2020, 2022", NON_COMMERCIAL,
        "https://github.com/neuralcodinglab/HYPER", bytes=92_288_373,
        note="92 288 660 bytes where it was saved under MXNet's older names; half as much in float16",
    ),
    Published(
        "pggan-celebahq", "karras2018iclr-celebahq-1024x1024.pkl", "pggan", "--generator",
        "CelebA-HQ 1024 px, TensorFlow (Karras et al. 2018)", "the original of HYPER's network", NON_COMMERCIAL,
        "https://github.com/tkarras/progressive_growing_of_gans", about=277,
        note="holds three networks; the moving average Gs is used",
    ),
    Published(
        "interfacegan-pggan", "pggan_celebahq.pth", "pggan", "--generator",
        "CelebA-HQ 1024 px, PyTorch (Shen et al. 2020)", "attributes of HYPER", NON_COMMERCIAL,
        "https://github.com/genforce/interfacegan", about=92.3, note="the network of InterFaceGAN's boundaries",
    ),
    Published(
        "genforce-pggan", "pggan_celebahq1024.pth", "pggan", "--generator",
        "CelebA-HQ 1024 px, PyTorch (genforce, SeFa)", "closed-form directions", NON_COMMERCIAL,
        "https://github.com/genforce/genforce", about=277, note="generator_smooth is used",
    ),
    Published(
        "ganzoo-pgan-celebahq", "celebaHQ", "pggan", "--generator",
        "CelebA-HQ 256 or 512 px, trained anew (pytorch_GAN_zoo)", "a PGGAN of its own: other faces for the same z",
        UNSTATED, "https://github.com/facebookresearch/pytorch_GAN_zoo",
        note="the moving average avgG is used; latents of other PGGANs mean nothing here",
    ),
    Published(
        "vaegan-celeba", "vaegan_celeba.ckpt", "vaegan", "--generator",
        "CelebA 128 px, TensorFlow checkpoint (VanRullen and Reddy 2019)", "VAE-GAN, ds001761", UNSTATED,
        "https://github.com/rufinv/VAE-GAN-CelebA", bytes=554_656_600, sha256_start="f97e76a9", sha256_end="4948b",
        note="the repository held a Git LFS pointer: a file of some hundred bytes is that pointer",
    ),
    Published(
        "stylegan2-ffhq", "stylegan2-ffhq-1024x1024.pkl", "stylegan2", "--generator",
        "FFHQ 1024 px, PyTorch pickle (NVIDIA)", "none of the papers; z or w latents", NVIDIA,
        "https://github.com/NVlabs/stylegan2-ada-pytorch", note="G_ema is used; the source code in it is not run",
    ),
    Published(
        "stylegan2-rosinality", "stylegan2-ffhq-config-f.pt", "stylegan2", "--generator",
        "FFHQ 1024 px, PyTorch (rosinality)", "none of the papers; z or w latents", "as NVIDIA's where converted",
        "https://github.com/rosinality/stylegan2-pytorch", note="g_ema is used",
    ),
    Published(
        "stylegan3-ffhq", "stylegan3-r-ffhq-1024x1024.pkl", "onnx", "--generator", "FFHQ 1024 px (NVIDIA)",
        "Brain2GAN", NVIDIA, "https://github.com/NVlabs/stylegan3",
        note="not read: export it to ONNX first",
    ),
    *(
        Published(
            f"boundary-{attribute}", f"pggan_celebahq_{attribute}_boundary.npy", "pggan", "--attributes",
            "hyperplane normals in the PGGAN's z (Shen et al. 2020)", "attributes of HYPER 2022", "MIT",
            "https://github.com/genforce/interfacegan", bytes=4224, note="in the repository's folder boundaries",
        )
        for attribute in ("age", "eyeglasses", "gender", "pose", "smile", "quality")
    ),
    Published(
        "vggface2-resnet50-keras", "rcmalli_vggface_tf_resnet50.h5", "vggface2", "--features",
        "VGGFace2, ResNet-50, Keras (rcmalli)", "feature similarity of HYPER", UNSTATED,
        "https://github.com/rcmalli/keras-vggface", about=165.0,
        note="gives other features than the PyTorch file",
    ),
    Published(
        "vggface2-resnet50-keras-notop", "rcmalli_vggface_tf_notop_resnet50.h5", "vggface2", "--features",
        "the same without its classes", "feature similarity of HYPER", UNSTATED,
        "https://github.com/rcmalli/keras-vggface", about=94.2, note="the same features as with the classes",
    ),
    Published(
        "vggface2-resnet50-pytorch", "resnet50_ft_weight.pkl", "vggface2", "--features",
        "VGGFace2, ResNet-50, PyTorch (cydonia999)", "feature similarity of HYPER", UNSTATED,
        "https://github.com/cydonia999/VGGFace2-pytorch", about=164,
        note="gives other features than the Keras file",
    ),
    Published(
        "vggface-vgg16-keras", "rcmalli_vggface_tf_vgg16.h5", "vggface", "--features",
        "VGG-Face, VGG-16, Keras (rcmalli)", "DAND's latents (fc6) and its feature similarity (fc7)", UNSTATED,
        "https://github.com/rcmalli/keras-vggface", about=580,
        note="the file without the top has neither fc6 nor fc7",
    ),
    Published(
        "vgg16-imagenet", "vgg16-397923af.pth", "vgg16", "--features", "ImageNet, VGG-16 (torchvision)",
        "DAND's feature loss", TORCHVISION,
        "https://github.com/pytorch/vision", about=553.4, sha256_start="397923af",
    ),
    Published(
        "alexnet-imagenet", "alexnet-owt-7be5be79.pth", "alexnet", "--features", "ImageNet, AlexNet (torchvision)",
        "metrics of the NSD studies", TORCHVISION,
        "https://github.com/pytorch/vision", about=244, sha256_start="7be5be79",
    ),
    Published(
        "inception-imagenet", "inception_v3_google-0cc3c7bd.pth", "inception", "--features",
        "ImageNet, Inception v3 (torchvision)", "metrics of the NSD studies",
        TORCHVISION, "https://github.com/pytorch/vision", about=109,
        sha256_start="0cc3c7bd",
    ),
    Published(
        "clip-vit-l14", "ViT-L-14.pt", "clip", "--features", "CLIP ViT-L/14 (OpenAI)", "metrics of the NSD studies",
        "MIT", "https://github.com/openai/CLIP",
        sha256="b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        note="a TorchScript archive: its numbers are read, its code is not",
    ),
    Published(
        "efficientnet-b1-imagenet", "efficientnet_b1-c27df63c.pth", "efficientnet", "--features",
        "ImageNet, EfficientNet-B1, second version (torchvision)", "metrics of the NSD studies",
        TORCHVISION, "https://github.com/pytorch/vision", about=31.5,
        sha256_start="c27df63c", note="torchvision's DEFAULT; the first version gives other distances",
    ),
    Published(
        "swav-resnet50", "swav_800ep_pretrain.pth.tar", "swav", "--features",
        "ImageNet without labels, ResNet-50 (Caron et al. 2020)", "metrics of the NSD studies", "CC BY-NC 4.0",
        "https://github.com/facebookresearch/swav", note="no archive in spite of its name; the heads are left out",
    ),
)  # fmt: skip


def published_as(path: Path, sha256: str = "") -> Published | None:
    """Return the published file that this one is: by its checksum, else by its name."""
    whole = [item for item in PUBLISHED if item.sha256 and item.sha256 == sha256]
    named = [item for item in PUBLISHED if item.file == Path(path).name]
    return next(iter(whole + named), None)
