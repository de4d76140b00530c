"""Real batch systems of one machine for the tests: SLURM, Grid Engine, and the Apptainer that is installed.

Each server lives in one directory with ports of its own, runs in the foreground under the tests' process (no systemd),
ends only what it started, and says with the end of its own log what failed.  `.ci/install-servers` installs the programs.
"""
