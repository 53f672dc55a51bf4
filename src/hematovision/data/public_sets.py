"""The public datasets of blood-cell images for `hematovision data download`.

Only published hashes are listed. Addresses point to a fixed commit, tag or version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from hematovision.errors import DownloadError

__all__ = ["SETS", "PublicSet", "get_set"]


@dataclass(frozen=True)
class PublicSet:
    """One public dataset."""

    name: str  # on the command line, and of the folder
    title: str  # a one-line description
    home: str  # web page
    licence: str  # as stated by the authors
    citation: str  # as stated by the authors
    size: str  # of the download, as text
    next_command: str  # with {folder} for the unpacked folder
    address: str = ""  # of the archive; empty for a dataset from Kaggle
    archive: str = ""  # the archive's file name
    sha256: str | None = None  # if published
    sha256_source: str = ""  # who published the hash
    kaggle: str | None = None  # handle on Kaggle, if downloaded from there

    def notice(self) -> str:
        """Return the licence and citation as text to keep with the data."""
        return (
            f"{self.title}\n\nHome:     {self.home}\n"
            f"Source:   {self.address or 'https://www.kaggle.com/datasets/' + str(self.kaggle)}\n"
            f"Licence:  {self.licence}\nCitation: {self.citation}\n\n"
            "If you publish anything made with these images, cite them; if you pass the images on, "
            "pass this notice on with them.\n"
        )


def get_set(name: str) -> PublicSet:
    """Return a public dataset by its name.

    Raises `DownloadError` if no dataset has that name.
    """
    try:
        return SETS[name]
    except KeyError:
        known = "\n".join(f"  {one.name:<11} {one.title} ({one.size})" for one in SETS.values())
        raise DownloadError(
            f"There is no public dataset {name!r}. Known datasets:\n{known}\nTo use your own "
            "images, run `hematovision data import`."
        ) from None


def _github(repository: str, reference: str) -> tuple[str, str]:
    name = PurePosixPath(repository).name
    return f"https://github.com/{repository}/archive/{reference}.zip", f"{name}-{reference}.zip"


_BCCD, _BCCD_FILE = _github("Shenggan/BCCD_Dataset", "v1.0")
_CBC, _CBC_FILE = _github(
    "MahmudulAlam/Complete-Blood-Cell-Count-Dataset", "ac6f9ff39760a6deb7b64077eef597393cfa73d3"
)
_TXL, _TXL_FILE = _github("lugan113/TXL-PBC_Dataset", "bcafb7af67467b02b3bac19a95d0e43ebcc5b983")
_DRAASLAN, _DRAASLAN_FILE = _github(
    "draaslan/blood-cell-detection-dataset", "df78d579bfab7d18bab6882f28f37ff82d499bb2"
)

_ACEVEDO = (
    "Acevedo A, Merino A, Alférez S, Molina Á, Boldú L, Rodellar J. A dataset of microscopic "
    "peripheral blood cell images for development of automatic recognition systems. Data in Brief "
    "2020; 30:105474. doi:10.1016/j.dib.2020.105474. Data: doi:10.17632/snkd93bnjr.1"
)
_IMPORT = "hematovision data import {folder}"

SETS: Mapping[str, PublicSet] = {
    one.name: one
    for one in (
        PublicSet(
            name="bccd",
            title="364 fields with boxes of RBC, WBC and platelets (BCCD)",
            home="https://github.com/Shenggan/BCCD_Dataset",
            address=_BCCD,
            archive=_BCCD_FILE,
            sha256="97af5cc16d14d293fcb3c82a8f66e49b0339a8d0abd8e9508e0feeb4911caa1f",
            sha256_source="TensorFlow Datasets, tensorflow_datasets/datasets/bccd/checksums.tsv",
            size="8 MB",
            licence="MIT",
            citation="Shenggan. BCCD Dataset. 2017. https://github.com/Shenggan/BCCD_Dataset",
            next_command=f"{_IMPORT}/BCCD {{folder}}-cells --format voc",
        ),
        PublicSet(
            name="cbc",
            title="360 fields of BCCD with repaired boxes (CBC)",
            home="https://github.com/MahmudulAlam/Complete-Blood-Cell-Count-Dataset",
            address=_CBC,
            archive=_CBC_FILE,
            size="about 10 MB",
            licence="MIT",
            citation=(
                "Alam MM, Islam MT. Machine learning approach of automatic identification and "
                "counting of blood cells. Healthcare Technology Letters 2019; 6(4):103-108. "
                "doi:10.1049/htl.2018.5098"
            ),
            next_command=f"{_IMPORT}/Training {{folder}}-cells --format voc",
        ),
        PublicSet(
            name="txl-pbc",
            title="1,260 fields of four sources with boxes of RBC, WBC and platelets (TXL-PBC)",
            home="https://github.com/lugan113/TXL-PBC_Dataset",
            address=_TXL,
            archive=_TXL_FILE,
            size="about 40 MB",
            licence=(
                "MIT (boxes). The images keep their sources' licences: BCCD MIT, PBC CC BY 4.0, "
                "Raabin-WBC free with citation"
            ),
            citation=(
                "Gan L, Li X. TXL-PBC: a freely accessible labeled peripheral blood cell dataset. "
                "arXiv:2407.13214, 2024. Images also: Acevedo et al. 2020, doi:10.17632/"
                "snkd93bnjr.1; Kouzehkanan et al. 2022 (Raabin-WBC), "
                "doi:10.1038/s41598-021-04426-x"
            ),
            next_command=f"{_IMPORT}/TXL_PBC {{folder}}-cells --format yolo",
        ),
        PublicSet(
            name="draaslan",
            title="100 fields of 256 x 256 pixels with boxes of RBC and WBC",
            home="https://github.com/draaslan/blood-cell-detection-dataset",
            address=_DRAASLAN,
            archive=_DRAASLAN_FILE,
            size="14 MB",
            licence="MIT",
            citation=(
                "Aslan A. Blood Cell Detection Dataset. 2020. "
                "https://github.com/draaslan/blood-cell-detection-dataset"
            ),
            next_command=(
                f"{_IMPORT}/images {{folder}}-cells --format csv "
                "--annotations {folder}/annotations.csv"
            ),
        ),
        PublicSet(
            name="pbc",
            title="17,092 single cells in eight classes (PBC, Barcelona), from Mendeley Data",
            home="https://data.mendeley.com/datasets/snkd93bnjr/1",
            # The file behind the button of the home page. Mendeley's API gives a hash, but it
            # could not be confirmed elsewhere, so it is not listed.
            address=(
                "https://data.mendeley.com/public-files/datasets/snkd93bnjr/files/"
                "2fc38728-2ae7-4a62-a857-032af82334c3/file_downloaded"
            ),
            archive="PBC_dataset_normal_DIB.zip",
            size="about 280 MB",
            licence="CC BY 4.0",
            citation=_ACEVEDO,
            next_command="hematovision train {folder} --taxonomy pbc8 --out {folder}-run",
        ),
        PublicSet(
            name="pbc-kaggle",
            title="the same 17,092 single cells, from Kaggle (needs the package kagglehub)",
            home="https://www.kaggle.com/datasets/unclesamulus/blood-cells-image-dataset",
            kaggle="unclesamulus/blood-cells-image-dataset",
            size="about 280 MB",
            licence="CC BY 4.0",
            citation=_ACEVEDO,
            next_command="hematovision train {folder} --taxonomy pbc8 --out {folder}-run",
        ),
    )
}
"""The public datasets by name. Raabin-WBC itself is missing: its addresses change."""
