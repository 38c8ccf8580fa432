"""Shows: AiiDA on rsdos: nodes with files, its own maintenance, and rsdos looking at the same container.
Needs: AiiDA and the drop-in (docs/aiida.md), and a profile: verdi profile setup core.sqlite_dos --profile-name demo
Run:   python aiida_session.py demo
"""

import io
import sys
from pathlib import Path

from aiida import load_profile, orm
from aiida.manage import get_manager

from rsdos import Container


def main() -> None:
    profile = load_profile(sys.argv[1])

    # Nothing here knows of rsdos: the drop-in takes the place of disk-objectstore.
    node = orm.FolderData(label="an example of rsdos")
    node.base.repository.put_object_from_filelike(io.BytesIO(b"energy = -1.0\n" * 1000), "outputs/energy.txt")
    node.store()
    with node.base.repository.open("outputs/energy.txt") as file:
        print("first line of the file:", file.readline().strip())

    storage = get_manager().get_profile_storage()
    storage.maintain(full=False)  # `verdi storage maintain`: packs all loose files

    # The same container by rsdos's own verbs. Look, check and back up as you like; delete by AiiDA alone.
    with Container(Path(profile.storage_config["filepath"]) / "container") as container:
        status = container.status()
        print("loose objects:", status.loose_objects)
        print("packed objects:", status.packed_objects)
        print("good" if container.validate("full").is_good else "damaged")


if __name__ == "__main__":
    main()
