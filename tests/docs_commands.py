"""Which commands of README and docs are run by tests/docs/test_commands.py, in which small setting; and why the others are not."""

from __future__ import annotations

from typing import NamedTuple

from docs_helpers import ALL


class Small(NamedTuple):
    """A command as it stands on a page, options that are set in its place (`-name`: left out), and the files that it writes."""

    command: str
    options: str = ""
    writes: str = ""


FEW = "--runs 1 --max-iterations 2"
RUN: dict[str, list[Small]] = {  # of a page, in this order
    "README.md": [
        Small("siame demo", "--runs 2", "siame-out/demo.png"),
        Small("siame align reference.jpg --now today.jpg --goal-depth 0.8"),
        Small("siame servo --scene my-scene.jpg --runs 20 --figure mine.png", FEW, "mine.png"),
    ],
    "align.md": [
        Small("siame align reference.jpg --now picture.jpg"),
        Small("siame align reference.png --source film.avi"),
    ],
    "benchmarks.md": [Small("siame bench paper --only list")],
    "laws.md": [
        Small(
            "siame servo --law pbvs-sift --scene src/siame_se3/assets/coffee.jpg --fov 40 --starts-from wide --runs 500 --gain 10 "
            "--max-iterations 100",
            FEW,
        )
    ],
    "recordings.md": [
        Small("siame servo --runs 20 --report report.html --video run.mp4", FEW, "report.html run.mp4"),
        Small("siame servo --runs 5 --record run.mcap", FEW, "run.mcap"),
        Small("siame replay run.mcap --run 0 --law pbvs-sift dvs-light"),
        Small("siame replay run.mcap --law auto dvs-light"),
        Small("siame replay run.mcap"),
    ],
    "relief.md": [
        Small("siame servo --relief 0.2 --depth map", FEW + " --law pbvs-orb"),
        Small("siame servo --scene photo.jpg --heights map.npy", FEW + " --law pbvs-orb"),
        Small("siame servo --scene photo.jpg --heights map.png --tallest 0.08", FEW + " --law pbvs-orb"),
        Small("siame servo --scene model.xml --depth map", FEW + " --law pbvs-orb"),
        Small("siame servo --scene objects --depth camera", FEW + " --law pbvs-orb"),
        Small("siame servo --depth map", FEW),
    ],
    "results.md": [
        Small("siame servo --law neural --runs 1000 --seed 21 --gain 10", FEW),
        Small("siame servo --law neural --runs 1000 --seed 22 --gain 10 --max-iterations 60 --perturb", FEW),
        Small("siame servo --runs 1000 --seed 21 --gain 10", FEW),
        Small(
            "siame servo --runs 1000 --seed 23 --gain 10 --max-iterations 150 --perturb --conditions.occlusion 0",
            FEW,
        ),
    ],
    "robots.md": [Small("siame calibrate board")],
    "start.md": [
        Small(
            "siame train my-scene.jpg --width 0.8 --distance 0.6 --minutes 5 --out mine.safetensors",
            "-minutes --steps 2 --eval-runs 1 --train.evaluations 1 --data.views 8 --network.image-size 64",
            "mine.safetensors",
        ),
        Small(
            "siame servo --model mine.safetensors --scene my-scene.jpg --runs 100 --figure mine.png --report mine.html",
            FEW + " --save runs.npz",
            "mine.png mine.html runs.npz",
        ),
        Small(
            "siame servo --model any-scene --scene my-scene.jpg --width 0.8 --runs 100 --figure mine.png",
            FEW,
            "mine.png",
        ),
        Small("siame plot runs.npz", "--scene my-scene.jpg"),
        Small("siame COMMAND --help"),
        Small("siame --print-completion bash"),
    ],
    "training.md": [
        Small(
            "siame train photos/ --network.pooling descriptors --network.fusion matching --network.head 256 256 --data.views 16 "
            "--data.groups 4 --data.near 0.25 --data.near-weight 4 --data.most-pairs 48",
            "--steps 1 --eval-runs 1 --train.evaluations 1 --data.views 4 --data.groups 1 --network.image-size 64",
            "model.safetensors",
        )
    ],
}

SHORT = "the same command is run with more, or by another page"
HARDWARE = (
    "needs a robot or a camera; run on doubles and the simulated arm by tests/commissioning, tests/plants and tests/cli"
)
SERVES = "serves until it is stopped; run by tests/page and tests/plants"
MEASURES = "minutes to hours, which a table of the docs is made by; in small settings run by tests/experiments"
DATA = "needs data that is not in the repository; small folders of these formats are run by tests/experiments and tests/commissioning"
ARM = "seconds for each iteration with MuJoCo's renderer; run by tests/plants"
MINE = "run by tests/docs/test_extending.py"
NOT_RUN = {
    SHORT: (
        "siame train PHOTO",
        "siame train PHOTO --relief 0.2",
        "siame train PHOTO --width 0.8 --distance 0.6 --minutes 5 --out mine.safetensors",
        "siame train my-scene.jpg --width 0.8 --distance 0.6 --steps 200 --out mine.safetensors",
        "siame servo --record run.mcap",
        "siame servo --runs 2 --seed 5 --video demo.gif",
        "siame servo --runs 100 --report report.html",
        "siame servo --law NAME",
    ),
    HARDWARE: (
        "siame align reference.png --source 0",
        "siame align reference.png --no-tone",
        "siame align reference.png --source 0 --save-reference",
        "siame live --page --dry-run",
        "siame live --record run.mcap",
        "siame target --scan",
        "siame check --photo scene.jpg",
        "siame live --model mine.safetensors --dry-run",
        "siame live --model mine.safetensors",
        "siame live --model any-scene",
        "siame live --model coffee --target target.png",
        "siame live --target target.png --ros2.command /siame/command",
        "siame live --start --target FILE",
        "siame target --out goal",
        "siame target --scan --dry-run --ros2.pose /arm/tool_pose --hand-eye hand-eye.yaml",
        "siame target --scan --ros2.pose /arm/tool_pose --hand-eye hand-eye.yaml --out goal",
        "siame live --target goal",
        "siame live --target goal --start",
        "siame live --help-all",
        "siame live --robot ur --host 192.168.0.10 --camera-source opencv --source 0 --camera camera.yaml --hand-eye hand-eye.yaml --dry-run",
        "siame live --ros2.image /camera/color/image_raw --ros2.info /camera/color/camera_info --ros2.twist /servo_node/delta_twist_cmds "
        "--ros2.frame-id camera_color_optical_frame --dry-run",
    ),
    SERVES: (
        "siame page --scene my.jpg --width 1.2 --model my.safetensors",
        "siame page --law handoff --beside ibvs-sift",
        "siame page --plant arm",
        "siame demo --page",
        "siame servo --page",
        "siame arm --start-from 0 0 0 0 0 0",
        "siame arm --scene objects --start-from 0 0 0 0 0 0",
        "siame arm --scene objects",
    ),
    MEASURES: (
        "siame bench fig4 --plant arm --minutes 9",
        "siame bench fig5 --plant arm --minutes 11",
        "siame bench table1",
        "siame bench table1 --quick",
        "siame bench paper --only paper-b3 ours-b3 --device cuda",
        "siame bench paper --quick",
        "siame bench perturb --shard 3/16 --out shared",
        "siame bench fig4 --minutes 9",
        "siame bench fig3 --minutes 40 --photos-root photos",
        "siame bench wide --minutes 10 --runs 200 --laws 'siame-se(3)-wide' handoff-wide",
        "siame bench wide --runs 200",
        "siame bench perturb --bundled-model --runs 100",
        "siame bench training",
        "siame bench relief",
        "siame train coffee.jpg --width 0.8 --steps 1140 --eval-runs 128",
    ),
    DATA: (
        "siame servo --model wide-0.8m.safetensors --scene coffee.jpg --width 0.8 --distance 0.8 --starts-from wide --runs 500 "
        "--gain 10 --max-iterations 100 --seed 11",
        "siame bench real workcell --laws auto+light --runs 4",
        "siame bench real FOLDER",
        "siame bench real workcell --laws auto+light --runs 24",
        "siame bench real workcell --laws auto --runs 6",
        "siame bench real workcell --laws auto+light --runs 4 --seed 12",
        "siame bench real workcell --laws trained trained+light",
        "siame bench real motorcycle --laws auto pbvs-sift pbvs-orb --runs 2",
        "siame replay my_bag --law dvs-light auto --target goal.png --depth 0.5",
        "siame servo --scene meshes --depth camera",
        "siame bench relief --objects meshes --runs 150 --laws auto+light --depths map camera scan plane",
        "siame bench relief --laws handoff --only sweep",
        "siame calibrate camera --pictures board/",
        "siame calibrate hand-eye --pictures board/ --camera camera.yaml --poses poses.csv",
        "siame calibrate hand-eye --poses FOLDER",
    ),
    ARM: (
        "siame servo --plant arm --scene objects --depth camera --runs 100 --seed 3 --out arm.csv",
        "siame servo --plant arm --scene objects --depth scan --runs 25 --seed 3",
        "siame servo --plant arm --runs 20 --gain 5 --figure arm.png",
        "siame servo --plant arm --runs 100 --seed 3 --gain 5",
        "siame servo --plant arm --scene objects --depth camera",
    ),
    MINE: (
        "siame servo --law my_parts:ObjectPBVS",
        "siame servo --law my_parts:ObjectPBVS --runs 100",
        "siame servo --law my_parts:ObjectPBVS --plant my_parts:LaggingCameras --runs 100 --gain 2",
        "siame servo --law my_parts:ObjectPBVS --scene my_parts:grey_coffee --runs 100",
    ),
    "downloads weights of ImageNet and trains for days; its recipe is that of tests/experiments's paper rows": tuple(
        found.text for found in ALL if "--network.pretrained" in found.text
    ),
    "two processes; run by tests/training": ("siame train PHOTO --data.groups 2",),
}

PICTURES = {  # what makes each picture, as a page says it
    "demo.gif": "siame servo --runs 2 --seed 5 --video demo.gif",
    "demo.png": "siame demo",
    "basins.png": "python -m siame_se3.experiments.basins --runs 20 --out docs/basins.png",
    "success.png": "siame bench table1",
    "fig2.png": "siame bench table1",
    "fig3.png": "siame bench fig3 --minutes 40 --photos-root photos",
    "fig4.png": "siame bench fig4 --minutes 9",
    "fig4-arm.png": "siame bench fig4 --plant arm --minutes 9",
    "fig5-arm.png": "siame bench fig5 --plant arm --minutes 11",
    "relief-sweep.png": "siame bench relief --laws handoff --only sweep",
    "page.png": "SIAME_PICTURES=docs python -m pytest tests/page/test_pictures.py",
    "page-dark.png": "SIAME_PICTURES=docs python -m pytest tests/page/test_pictures.py",
    "page-narrow.png": "SIAME_PICTURES=docs python -m pytest tests/page/test_pictures.py",
    "report.png": "siame servo --runs 100 --report report.html",
}
