# SPDX-License-Identifier: GPL-2.0-or-later
"""The chain base <- mid1 <- mid2 <- top, and jobs that run on it slowly, or are ready: what the tables
of jobs and second commands have in common."""

import os
import shutil

from imgtest import MiB, must

CHAIN = ("base", "mid1", "mid2", "top")
IMAGES = (*CHAIN, "s2", "t", "t2", "over")
SIZE = 8 * MiB


def below(node):
    return CHAIN[max(CHAIN.index(node) - 1, 0)]


# ---- jobs: heading, how to start it, the event to wait for -----------------------------------

def job(command, ready=False, /, **arguments):
    return command, {"job-id": "j", "speed": 0 if ready else 1,
                     **{key.replace("_", "-"): value for key, value in arguments.items()}}, \
        {"status": "ready"} if ready else None


JOBS = {
    "no job": None,
    "stream into top": job("block-stream", device="top"),
    "stream mid2 into top": job("block-stream", device="top", base_node="mid1"),
    "stream into mid2": job("block-stream", device="mid2"),
    "stream mid1 into mid2": job("block-stream", device="mid2", base_node="base"),
    "stream into mid1": job("block-stream", device="mid1"),
    "commit mid2 into mid1": job("block-commit", device="top", top_node="mid2", base_node="mid1"),
    "commit mid2 into base": job("block-commit", device="top", top_node="mid2", base_node="base"),
    "commit mid1 into base": job("block-commit", device="top", top_node="mid1", base_node="base"),
    "commit top into mid2, ready": job("block-commit", True, device="top", base_node="mid2"),
    "commit top into base": job("block-commit", device="top", base_node="base"),
    "mirror top to t": job("blockdev-mirror", device="top", target="t", sync="full"),
    "mirror top to t, ready": job("blockdev-mirror", True, device="top", target="t", sync="top"),
    "backup top to t": job("blockdev-backup", device="top", target="t", sync="full"),
    "backup mid1 to t": job("blockdev-backup", device="mid1", target="t", sync="full"),
    "backup s2 to top": job("blockdev-backup", device="s2", target="top", sync="full"),
    # Done at once, it keeps what it has until job-finalize.
    "compact top": ("block-compact", {"job-id": "j", "node-name": "top", "auto-finalize": False},
                    {"status": "pending"}),
}


def image_options(node):
    """What blockdev-add and blockdev-reopen take for an image, over its file."""
    options = {"driver": "qcow2", "node-name": node, "file": f"f-{node}"}
    if node in CHAIN:
        return {**options, "backing": below(node) if node != "base" else None,
                "read-only": node in CHAIN[:-1]}
    return {**options, "backing": None} if node == "over" else options


def make_images(folder):
    """Each image of the chain has two pieces of its own far from each other."""
    home = os.getcwd()
    os.mkdir(folder)
    os.chdir(folder)
    for i, node in enumerate(IMAGES):
        backing = ["-b", f"{CHAIN[i - 1]}.qcow2", "-F", "qcow2"] if 0 < i < 4 else []
        must("qemu-img", "create", "-q", "-f", "qcow2", *backing, f"{node}.qcow2", str(SIZE))
        if i < 5:
            must("qemu-img", "snapshot", "-c", "kept", f"{node}.qcow2")
            must("qemu-io", "-f", "qcow2", "-c", f"write -q -P {i + 1} {i * 64}k 64k", "-c",
                 f"write -q -P {i + 1} {4 * MiB + i * 65536} 64k", f"{node}.qcow2")
    os.chdir(home)


# ---- the laboratory ------------------------------------------------------------------------------

class Lab:
    """One program after the other, each with fresh images and a job of JOBS running."""

    def __init__(self, job_wanted):
        self.job_wanted, self.vm, self.before = job_wanted, None, None

    def fresh_images(self):
        shutil.rmtree("work", ignore_errors=True)
        shutil.copytree("images", "work")

    def add_image(self, node):
        self.vm.add(f"f-{node}", "file", filename=f"work/{node}.qcow2", cache={"no-flush": True})
        self.vm.execute("blockdev-add", image_options(node))

    def start_job(self):
        if self.job_wanted:
            command, arguments, status = self.job_wanted
            self.vm.execute(command, arguments)
            if status:
                self.vm.wait_event("JOB_STATUS_CHANGE", **status)

    def stop(self):
        if self.vm:
            # No clean end: that is another test's.
            self.vm.__exit__(InterruptedError)
            self.vm = None

    def claims(self):
        return sorted((row["node-name"], str(row["owner"]), row["reason"])
                      for row in self.vm.command("query-block-blockers"))

    def state(self):
        """Nodes, edges, jobs and claims."""
        graph = self.vm.command("x-debug-query-block-graph")
        nodes = sorted(node["name"] for node in graph["nodes"])
        edges = sorted((edge["name"], str(edge["perm"]), str(edge["shared-perm"]))
                       for edge in graph["edges"])
        jobs = [(row["id"], row["type"]) for row in self.vm.command("query-jobs")]
        return nodes, edges, jobs, self.claims()

    def complaint(self):
        """What is to be said if a refused command did not leave everything as it was."""
        if self.state() == self.before:
            return ""
        self.stop()
        return " AND SOMETHING CHANGED"
