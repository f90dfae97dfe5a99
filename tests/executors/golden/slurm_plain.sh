#!/bin/bash
#SBATCH --job-name=ms-1
#SBATCH --comment=metta-sweep:ms-1:1
#SBATCH --dependency=singleton
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --signal=B:USR1@60
#SBATCH --requeue
#SBATCH --output=/dev/null
#SBATCH --open-mode=append
#SBATCH --chdir=/
#SBATCH --export=ALL

metta_folder=/home/ada/project
metta_paths=/home/ada/project:/home/ada/lib
metta_output=/shared/run/attempt-1/output.txt
metta_command=(python3 -m metta.sweep.worker /shared/run/attempt-1 0000000000000000000000000000000000000000000000000000000000000000)
exec >>"$metta_output" 2>&1
cd -- "$metta_folder" || exit
export PYTHONPATH="$metta_paths${PYTHONPATH:+:$PYTHONPATH}"
exec "${metta_command[@]}"
