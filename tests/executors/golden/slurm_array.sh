#!/bin/bash
#SBATCH --job-name=ms-2
#SBATCH --comment=metta-sweep:ms-2:2
#SBATCH --array=0-1
#SBATCH --dependency=singleton
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=7630M
#SBATCH --gres=lustre:1,gpu:a100:2
#SBATCH --time=87
#SBATCH --signal=B:USR1@120
#SBATCH --partition=gpu
#SBATCH --account=vision
#SBATCH --qos=long
#SBATCH --no-requeue
#SBATCH --constraint=a100|h100
#SBATCH --exclusive
#SBATCH --nice=100
#SBATCH --output=/dev/null
#SBATCH --open-mode=append
#SBATCH --chdir=/
#SBATCH --export=ALL

metta_folder=/home/ada/project
metta_paths=/home/ada/project:/home/ada/lib
case "$SLURM_ARRAY_TASK_ID" in
0)
  metta_output=/shared/run/attempt-1/output.txt
  metta_command=(python3 -m metta.sweep.worker /shared/run/attempt-1 0000000000000000000000000000000000000000000000000000000000000000)
  ;;
1)
  metta_output='/shared/run/it'"'"'s 2/output.txt'
  metta_command=(python3 -m metta.sweep.worker '/shared/run/it'"'"'s 2' 1111111111111111111111111111111111111111111111111111111111111111)
  ;;
esac
exec >>"$metta_output" 2>&1
cd -- "$metta_folder" || exit
module load cuda/12 || exit
echo "on $(hostname)"
export PYTHONPATH="$metta_paths${PYTHONPATH:+:$PYTHONPATH}"
exec "${metta_command[@]}"
