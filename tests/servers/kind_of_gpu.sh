#!/bin/sh
# Job verifier of the tests' Grid Engine (see jsv(5) for the protocol on standard input and output).
#
# A queue offers one GPUtype on one host, and this machine is one host: each queue with GPUs is really a queue per kind.
# "-q mc_gpu_long" means all of them here; "-l GPUtype=..." then decides, as it does between the hosts of a farm.
queues=@QUEUES@
kinds=@KINDS@

is_one_of() {
  case " $2 " in *" $1 "*) return 0 ;; esac
  return 1
}

all_kinds_of() { # queue[@host]{,queue[@host]}
  result=
  old=$IFS
  IFS=,
  set -- $1
  IFS=$old
  for entry; do
    queue=${entry%%@*}
    if is_one_of "$queue" "$queues"; then
      for kind in $kinds; do
        result=$result,${queue}_$kind${entry#"$queue"}
      done
    else
      result=$result,$entry
    fi
  done
  echo "${result#,}"
}

asked=
while read -r word name value; do
  case $word in
    START) asked=; echo STARTED ;;
    PARAM) [ "$name" != q_hard ] || asked=$value ;;
    BEGIN)
      if [ -n "$asked" ]; then
        echo "PARAM q_hard $(all_kinds_of "$asked")"
        echo "RESULT STATE CORRECT"
      else
        echo "RESULT STATE ACCEPT"
      fi
      ;;
    QUIT) exit 0 ;;
  esac
done
