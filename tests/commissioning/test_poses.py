"""Files of poses, and which picture each belongs to."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

import pytest
import torch

from siame_se3.commissioning.poses import read_poses
from siame_se3.errors import InputError
from siame_se3.geometry import lie

VALUES = [[0.1 * k, 0.2, 0.3, 0.1, -0.2 * k, 0.3] for k in range(4)]
POSES = lie.pose_from_vector(torch.tensor(VALUES, dtype=torch.float64))
PICTURES = [Path("pics") / f"view_{k:02d}.png" for k in range(4)]


def csv(tmp_path: Path, names: list[str], divider: str = ",", header: str = "picture,x,y,z,rx,ry,rz\n") -> Path:
    lines = [divider.join([name, *map(repr, values)]) for name, values in zip(names, VALUES, strict=False)]
    path = tmp_path / "poses.csv"
    path.write_text(header.replace(",", divider) + "\n".join(lines) + "\n")
    return path


STEMS = [path.stem for path in PICTURES]
NAMES = {
    "names": [path.name for path in PICTURES],
    "stems": STEMS,
    "paths": [f"/home/me/session 3/{path.name}" for path in PICTURES],
    "Windows paths": [rf"C:\session\{path.name}" for path in PICTURES],
    "quoted": [f'"{path.name}"' for path in PICTURES],
    "numbers": ["0", "1", "2", "3"],
    "padded numbers": ["00", "01", "02", "03"],
    "counted from 1": ["1", "2", "3", "4"],
    "other prefix": [f"pose-{k}" for k in range(4)],
    "another ending": [f"{stem}.jpg" for stem in STEMS],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("divider", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["", "picture,x,y,z,rx,ry,rz\n", "# by the pendant\nname,x,y,z,rx,ry,rz\n"])
def test_poses_find_their_pictures(tmp_path: Path, names: list[str], divider: str, header: str) -> None:
    table = read_poses(csv(tmp_path, names, divider, header))
    assert table.of_pictures(PICTURES) == {path: k for k, path in enumerate(PICTURES)}
    torch.testing.assert_close(table.poses(), POSES, atol=1e-15, rtol=0)


def test_decimal_commas_with_semicolons(tmp_path: Path) -> None:
    path = csv(tmp_path, STEMS, ";")
    path.write_text(path.read_text().replace(".", ","))
    torch.testing.assert_close(read_poses(path).poses(), POSES, atol=1e-15, rtol=0)


def test_pictures_without_a_pose_are_left_out(tmp_path: Path) -> None:
    table = read_poses(csv(tmp_path, [PICTURES[2].name, "elsewhere.png", PICTURES[0].name]))
    assert table.of_pictures(PICTURES) == {PICTURES[2]: 0, PICTURES[0]: 2}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a", "b", "c", "d"], r"it names 'a', 'b', 'c' and 1 more, the pictures are 'view_00\.png'"),
        ([STEMS[0], STEMS[1], STEMS[1]], "two poses of 'view_01'"),
        (["one/view_01.png", "two/view_01.png"], r"two poses of 'view_01\.png'"),
        (["5", "6", "7", "8"], "no pose belongs to a picture"),
        (["1", "2", "4", "5"], "no pose belongs to a picture"),
        (["1", "2", "2", "4"], "two poses of '2'"),
    ],
)
def test_what_is_in_doubt_says_what_was_sought_and_found(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_poses(csv(tmp_path, names)).of_pictures(PICTURES)


@pytest.mark.parametrize("first", [0, 1])
def test_poses_that_are_counted_belong_to_pictures_by_their_numbers(tmp_path: Path, first: int) -> None:
    """By name img_10 comes before img_2."""
    pictures = sorted(Path(f"img_{k}.png") for k in range(1, 13))
    (tmp_path / "p.csv").write_text("".join(f"{first + k},0.1,0.2,0.3,0,0,{k}\n" for k in range(12)))
    found = read_poses(tmp_path / "p.csv").of_pictures(pictures)
    assert found == {Path(f"img_{k + 1}.png"): k for k in range(12)}


@pytest.mark.parametrize(
    "names",
    [
        ("left_1", "left_2", "right_1", "right_2"),
        ("30-11-2026", "29-12-2026", "31-10-2026", "01-12-2026"),
        ("10.03.58", "10.04.02", "10.05.11", "10.06.01"),
        ("v1", "v01", "v2", "v3"),
        ("a", "b", "c", "d"),
    ],
    ids=str,
)
def test_an_order_that_is_in_doubt_is_no_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    pictures = sorted(Path(f"{name}.png") for name in names)
    with pytest.raises(InputError, match="no pose belongs"):
        read_poses(csv(tmp_path, ["0", "1", "2", "3"])).of_pictures(pictures)


def test_pictures_counted_with_zeros_are_found_without(tmp_path: Path) -> None:
    """img_10 is found by its name too: all of them count, and not the most exact."""
    pictures = [Path(f"img_{k:02d}.png") for k in range(1, 13)]
    names = [f"img_{k}.png" for k in range(1, 13)]
    numbers = [f"{k}.0" for k in range(1, 13)]  # as a table's program writes a column of numbers
    for said in (names, numbers):
        (tmp_path / "p.csv").write_text("".join(f"{name},0.1,0.2,0.3,0,0,{k}\n" for k, name in enumerate(said)))
        found = read_poses(tmp_path / "p.csv").of_pictures(pictures)
        assert found == {picture: k for k, picture in enumerate(pictures)}


def test_quaternions_by_the_headers_order(tmp_path: Path) -> None:
    expected = lie.pose_from_vector(torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.0, 1.0]], dtype=torch.float64))
    w, z = float(torch.cos(torch.tensor(0.5).double())), float(torch.sin(torch.tensor(0.5).double()))
    for header, values in (
        ("", (0, 0, z, w)),
        ("picture,x,y,z,qx,qy,qz,qw\n", (0, 0, z, w)),
        ("picture,x,y,z,qw,qx,qy,qz\n", (w, 0, 0, z)),
        ("name,tx,ty,tz,quat_w,quat_x,quat_y,quat_z\n", (w, 0, 0, z)),
    ):
        (tmp_path / "q.csv").write_text(header + "a,0.1,0.2,0.3," + ",".join(map(repr, values)))
        torch.testing.assert_close(read_poses(tmp_path / "q.csv").poses(), expected, atol=1e-12, rtol=0)
    for header, line in (
        ("picture,qw,qx,qy,qz,x,y,z\n", (w, 0, 0, z, 0.1, 0.2, 0.3)),
        ("picture,x,z,y,qx,qy,qz,qw\n", (0.1, 0.3, 0.2, 0, 0, z, w)),
        ("picture,w,x,y,z,x,y,z\n", (w, 0, 0, z, 0.1, 0.2, 0.3)),
        ("picture,rz,ry,rx,x,y,z\n", (1.0, 0, 0, 0.1, 0.2, 0.3)),
        ("picture,pos_x [m],pos_y,pos_z,rot_x,rot_y,rot_z\n", (0.1, 0.2, 0.3, 0, 0, 1.0)),
    ):
        (tmp_path / "q.csv").write_text(header + "a," + ",".join(map(repr, line)), encoding="utf-16")
        torch.testing.assert_close(read_poses(tmp_path / "q.csv").poses(), expected, atol=1e-12, rtol=0)
    (tmp_path / "q.csv").write_text("a,0.1,0.2,0.3,1,1,0,0")
    with pytest.raises(InputError, match=r"line 1: a quaternion of length 1\.414"):
        read_poses(tmp_path / "q.csv").poses()


POSE = {"x": 0.1, "y": 0.2, "z": 0.3, "rx": 0.0, "ry": 0.0, "rz": 1.0}
POSE |= {"qx": 0.0, "qy": 0.0, "qz": math.sin(0.5), "qw": math.cos(0.5)}
_QW, _QLAST, _VECTOR = "x y z qw qx qy qz", "qx qy qz qw x y z", "rx ry rz x y z"


@pytest.mark.parametrize(
    ("header", "order"),
    [
        ("picture|x [m]|y [m]|z [m]|qw|qx|qy|qz", _QW),
        ("picture|x_m|y_m|z_m|qw|qx|qy|qz", _QW),
        ("Picture|X (m)|Y (m)|Z (m)|Qw|Qx|Qy|Qz", _QW),
        ("picture|rx [rad]|ry [rad]|rz [rad]|x [m]|y [m]|z [m]", _VECTOR),
        ("picture|rx_rad|ry_rad|rz_rad|x_m|y_m|z_m", _VECTOR),
        ("picture|rot_x|rot_y|rot_z|pos_x|pos_y|pos_z", _VECTOR),
        ("picture|rvec_x|rvec_y|rvec_z|tvec_x|tvec_y|tvec_z", _VECTOR),
        ("picture|rotX|rotY|rotZ|posX|posY|posZ", _VECTOR),
        ("file name|orientation.x|orientation.y|orientation.z|orientation.w|position.x|position.y|position.z", _QLAST),
        ("picture|q_x|q_y|q_z|q_w|tcp_x|tcp_y|tcp_z", _QLAST),
        ("|".join(["picture", *(f"pose.position.{x}" for x in "xyz"), *(f"pose.orientation.{x}" for x in "wxyz")]), _QW),
        ("|".join(["name", *(f"field.pose.position.{x}" for x in "xyz"), *(f"field.pose.orientation.{x}" for x in "wxyz")]), _QW),
        ("|".join(["name", *(f"transform.translation.{x}" for x in "xyz"), *(f"transform.rotation.{x}" for x in "wxyz")]), _QW),
    ],
)  # fmt: skip
def test_headers_with_units_and_other_names_are_understood(tmp_path: Path, header: str, order: str) -> None:
    line = ["a.png", *(repr(POSE[name]) for name in order.split())]
    others = ["7", "1700000000.5", *line, "base"]
    named = "|".join(["index", "timestamp", header, "frame"])
    for cells, names in ((line, header), (others, named)):
        path = tmp_path / "h.csv"
        path.write_text(names.replace("|", ",") + "\n" + ",".join(cells))
        table = read_poses(path)
        assert table.names == ("a.png",)
        expected = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.0, 1.0]], dtype=torch.float64)
        torch.testing.assert_close(lie.vector_from_pose(table.poses()), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("picture,x,y,z,roll,pitch,yaw", "its header has the columns picture, x, y, z, roll, pitch, yaw, which are no"),
        ("picture,X,Y,Z,W,P,R", "columns picture, X, Y, Z, W, P, R.*give lines picture,x,y,z,rx,ry,rz"),
        ("picture,X,Y,Z,A,B,C", "which are no pose in a known order"),
        ("picture,x,y,z,q1,q2,q3,q4", "which are no pose in a known order"),
        ("picture,x,y,z,orientation_x,orientation_y,orientation_z", "which are no pose in a known order"),
        ("picture,vel_x,vel_y,vel_z,rx,ry,rz", "which are no pose in a known order"),
        (
            "picture,x,y,z,rx [deg],ry [deg],rz [deg]",
            r"column 'rx \[deg\]' is in deg; give a rotation vector in radians",
        ),
        ("picture,x_deg,y,z,rx,ry,rz", "column 'x_deg' is in deg; give metres or millimetres"),
        ("picture,x [ft],y [ft],z [ft],rx,ry,rz", r"column 'x \[ft\]' is in ft"),
        ("picture,x,y,z,pos_x,rx,ry,rz", "two columns are called x"),
    ],
)
def test_a_header_that_names_no_known_order_is_never_read_by_position(tmp_path: Path, header: str, words: str) -> None:
    path = tmp_path / "h.csv"
    values = "0,0,0,1" if header.count(",") == 7 else "0,0,1"
    path.write_text(f"{header}\na.png,0.1,0.2,0.3,{values}\n")
    with pytest.raises(InputError, match=f"line 1: .*{words}") as error:
        read_poses(path)
    assert len(str(error.value).splitlines()) == 1


def test_millimetres_in_a_header_are_converted(tmp_path: Path) -> None:
    (tmp_path / "mm.csv").write_text("picture,x_mm,y [mm],z (cm),rx,ry,rz\na,100,200,30,0,0,1")
    assert read_poses(tmp_path / "mm.csv").values == (pytest.approx((0.1, 0.2, 0.3, 0, 0, 1)),)


PLAIN = "a.png,0.1,-0.2,0.3,0,0,1\nb.png,0.1,-0.2,0.3,0,0,1\n"
HEADER = "picture,x,y,z,rx,ry,rz\n"
SWAPPED = "a.png,0,0,1,0.1,-0.2,0.3\nb.png,0,0,1,0.1,-0.2,0.3\n"


@pytest.mark.parametrize(
    "text",
    [
        (HEADER + PLAIN).replace(",", " "),
        PLAIN.replace(",", "  "),
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", " ").replace("0.", "0,"),
        "sep=;\n" + (HEADER + PLAIN).replace(",", ";").replace("0.", "0,"),
        "sep=,\n" + HEADER + PLAIN,
        "Robot poses of Monday\n" + HEADER + PLAIN,
        "Robot poses of Monday\n" + PLAIN,
        "Robot poses of Monday\n" + (HEADER + PLAIN).replace(",", "\t"),
        "# robot 1; in m, rad\n% by the pendant\n// second\n" + HEADER + PLAIN,
        "# picture,rx,ry,rz,x,y,z\n" + SWAPPED,
        "# rx, ry, rz, x, y, z\n" + SWAPPED,
        (HEADER + PLAIN).replace("-", "\u2212"),
        "".join(f"{name}.png,p[0.1, -0.2, 0.3, 0, 0, 1]\n" for name in "ab"),
        "picture;pose\n" + "".join(f"{name}.png;p[0.1, -0.2, 0.3, 0, 0, 1]\n" for name in "ab"),
        "".join(f'{name}.png,"p[0.1, -0.2, 0.3, 0, 0, 1]"\n' for name in "ab"),
        "".join(f'"{name}.png","p[0.1, -0.2, 0.3, 0, 0, 1]"\n' for name in "ab"),
        "".join(f'"{name}.png",p[0.1, -0.2, 0.3, 0, 0, 1]\n' for name in "ab"),
        "picture,x,y,z,rx,ry,rz,note\n" + PLAIN.replace("0,0,1\nb", "0,0,1,good\nb"),
    ],
)
def test_lists_as_people_and_programs_write_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    table = read_poses(tmp_path / "p.csv")
    assert table.names == ("a.png", "b.png")
    assert table.values == 2 * ((0.1, -0.2, 0.3, 0.0, 0.0, 1.0),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# poses\na.png,1,2,3,0,0,0\nb.png,1,2,3,0,0\n", "line 3"),
        ("a.png,1,2,3,0,0,x\n", "line 1"),
        ("a.png,1,2,3,0,0,0\nb.png,1,2,3,0,0,x\n", "line 2"),
        ("a.png,1,2,3,0,0,nan\n", "line 1"),
        ("a.png,1,2,3,0,0,0\nb.png,1,2,3,0,0,0,1\n", "line 2"),
        ('a.png,1,2,3,"0,0",0,0\n', "line 1"),
        ("x,y,z,rx,ry,rz\n1,2,3,0,0,0\n", "its first column is no picture's name"),
        ("picture,x,x,y,z,rx,ry,rz\na.png,1,2,3,0,0,0,0\n", "two columns are called x"),
        ("picture,x,y,z,stamp,rx,ry,rz\na.png,1,2,3,0,0,0\n", "line 2: it has fewer columns than the header"),
        (HEADER + "mm,mm,mm,mm,rad,rad,rad\na,1,2,3,0,0,0\n", "line 2: give lines"),
        (HEADER + "a.png,1,2,3,0,0,0,0\n", "line 2: it has more columns than the header"),
        ("", "no poses"),
        ("a.png," + "x" * 200_000 + ",1,1,1,1,1\n", "field larger than field limit"),
        ("#" * 2_000_000, "too many"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        read_poses(tmp_path / "p.csv")
    assert str(error.value).startswith(str(tmp_path / "p.csv"))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("line", ["a.png,400,200,300,0,0,0", "a.png,0.4,0.2,0.3,0,0,90"])
def test_millimetres_and_degrees_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "mm.csv").write_text(line)
    with pytest.raises(InputError, match="line 1: give metres and radians, not millimetres or degrees"):
        read_poses(tmp_path / "mm.csv").poses()


def visp(values: list[float]) -> str:
    return "rows: 6\ncols: 1\ndata:\n" + "".join(f"  - [{x!r}]\n" for x in values)


@pytest.mark.parametrize("prefix", ["pose_fPe_", "franka_pose_rPe_"])
@pytest.mark.parametrize("given", ["folder", "a file"])
def test_visps_poses(tmp_path: Path, prefix: str, given: str) -> None:
    for k, values in enumerate(VALUES, 1):
        (tmp_path / f"{prefix}{k}.yaml").write_text(visp(values))
    (tmp_path / "camera.yaml").write_text("image_width: 640\n")
    (tmp_path / "visp_ePc.yaml").write_text(visp(VALUES[0]))
    table = read_poses(tmp_path if given == "folder" else tmp_path / f"{prefix}1.yaml")
    torch.testing.assert_close(table.poses(), POSES, atol=1e-15, rtol=0)
    assert table.T_co is None
    pictures = [Path(f"image-{k}.png") for k in range(1, 5)]
    assert table.of_pictures(pictures) == {path: k for k, path in enumerate(pictures)}


def test_visps_poses_of_the_board_and_ten_of_them_in_order(tmp_path: Path) -> None:
    for k in range(1, 12):
        (tmp_path / f"pose_fPe_{k}.yaml").write_text(visp([0.01 * k, 0, 0, 0, 0, 0]))
        (tmp_path / f"pose_cPo_{k}.yaml").write_text(visp([0, 0.01 * k, 0, 0, 0, 0]))
    (tmp_path / ".pose_fPe_12.yaml.1a2b3c-77-0.part.yaml").write_text("rows")  # another program is writing it
    table = read_poses(tmp_path)
    assert table.names == tuple(str(k) for k in range(1, 12))
    assert table.T_co is not None
    assert (table.poses()[:, 0, 3] * 100).round().tolist() == list(range(1, 12))
    assert (table.T_co[:, 1, 3] * 100).round().tolist() == list(range(1, 12))
    (tmp_path / "pose_cPo_3.yaml").unlink()
    assert read_poses(tmp_path).T_co is None
    some = read_poses(tmp_path, boards=True)
    assert some.names == tuple(str(k) for k in range(1, 12) if k != 3)
    assert some.T_co is not None


def test_what_holds_no_poses_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_poses(tmp_path / "q.csv")
    with pytest.raises(InputError, match="no poses of the tool"):
        read_poses(tmp_path)
    (tmp_path / "pose_fPe_1.yaml").write_text("rows: 3\ncols: 1\ndata: [1, 2, 3]\n")
    with pytest.raises(InputError, match="no poses of the tool"):
        read_poses(tmp_path / "pose_fPe_1.yaml")


def test_a_line_of_many_empty_cells_takes_no_time(tmp_path: Path) -> None:
    """It took hours: each cell was looked at as the last before a bracket."""
    (tmp_path / "p.csv").write_text("".join(f"{k}.png;0.1;0.2;0.3;0;0;{k}" + 40_000 * ";" + "\n" for k in range(4)))
    began = time.thread_time()
    with contextlib.suppress(InputError):
        read_poses(tmp_path / "p.csv")
    assert time.thread_time() - began < 5
