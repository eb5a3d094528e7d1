"""Networks of torchvision and timm that were trained at several worker counts, and sizes of pictures that they take."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import pytest


def needs(*libraries: str) -> pytest.MarkDecorator:
    """Skip a test, with the reason, where one of the libraries is not installed."""
    missing = [name for name in libraries if find_spec(name) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"not run: {', '.join(missing)} not installed (seedbed[zoo])"
    )


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network by `library/name`."""

    name: str
    pixels: int = 32
    args: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.name


def _of(library: str, names: str, *, pixels: int = 32, **args: str) -> tuple[Network, ...]:
    return tuple(
        Network(name=f"{library}/{name}", pixels=pixels, args=tuple(args.items())) for name in names.split()
    )


EVERY_DAY = (
    *_of("torchvision", "mobilenet_v3_small"),
    *_of("timm", "resnet10t"),
    *_of("timm", "vit_tiny_patch16_224", img_size="32", drop_path_rate="0.1"),
)
TRIED = (
    *EVERY_DAY,
    *_of("torchvision", "densenet121 efficientnet_b0 mobilenet_v2 regnet_y_400mf resnet18 resnext50_32x4d"),
    *_of("torchvision", "shufflenet_v2_x0_5 squeezenet1_1 convnext_tiny swin_t swin_v2_t"),
    *_of("torchvision", "alexnet", pixels=64),
    *_of("torchvision", "googlenet", aux_logits="false"),
    *_of("torchvision", "inception_v3", pixels=96, aux_logits="false"),
    *_of("timm", "resnet18 resnet50d efficientnet_b0 convnext_atto convnextv2_atto regnety_002 ghostnet_100"),
    *_of("timm", "mobilenetv3_small_050 mobilenetv4_conv_small hrnet_w18_small res2net50_26w_4s seresnet18"),
    *_of(
        "timm", "ecaresnet26t skresnet18 resnest14d dla34 dpn48b nfnet_l0 rexnet_100 repvgg_a0 mobileone_s0"
    ),
    *_of(
        "timm",
        "fastvit_t8 edgenext_xx_small poolformer_s12 pvt_v2_b0",
        pixels=64,
    ),
    *_of(
        "timm", "starnet_s1 hardcorenas_a selecsls42 vovnet39a cspresnet50 darknet17 tresnet_m gcresnet33ts"
    ),
    *_of("timm", "repghostnet_050 hgnet_tiny convmixer_768_32 inception_next_tiny davit_tiny"),
    *_of(
        "timm",
        "mixer_s32_224 deit_tiny_distilled_patch16_224 gmlp_s16_224",
        img_size="32",
    ),
    *_of("timm", "botnet26t_256 visformer_tiny", pixels=64, img_size="64"),
    *_of(
        "timm", "swin_tiny_patch4_window7_224 xcit_nano_12_p16_224 cait_xxs24_224", pixels=64, img_size="64"
    ),
)
