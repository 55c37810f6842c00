"""Options of the commands that start a service: `vsa serve` and `vsa cluster start`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HostOption = Annotated[
    str, typer.Option(help="to listen at; 0.0.0.0 is all of this machine's addresses")
]
PortOption = Annotated[int, typer.Option(help="to listen at; 0 for a free one")]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(help="whose text writes have to show; VSA_TOKEN by default, else no writes"),
]
RootOption = Annotated[
    Path | None, typer.Option(help="where the catalogue's pictures lie, if they were moved")
]
BackendOption = Annotated[str, typer.Option(help="torch, or onnx (extra export)")]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="of vsa.serve.limits.Limits: max_bytes=20000000"),
]
