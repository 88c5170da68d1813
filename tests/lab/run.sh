#!/usr/bin/env bash
# run.sh CACHE COMMAND...: runs COMMAND as root, from this folder, in a guest that sees this machine's whole file system copy on
# write and that has SR-IOV devices; exits with its status, 98 when QEMU failed or the time was over, 99 when the guest died.
# Its stdout and stderr come out as this script's stdout. Any number of runs can go on side by side.
#   LAB_NICS=2         number of PFs
#   LAB_VFS=8          VFs that each PF can have, 127 at most
#   LAB_NIC=nvme       the carrier of the NIC: nvme, or igb with a QEMU 8 or later
#   LAB_TIMEOUT=300    seconds until the guest is killed
#   LAB_MEM=1024       MiB of memory
#   LAB_OUT=DIRECTORY  what the guest has as /out, kept after the run; default: a temporary one
#   LAB_QEMU=qemu-system-x86_64
# In the guest, LAB_DIR is the folder of this script and LAB_SIMNIC the SmartNIC's kernel module.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$1" && pwd)
shift
kernel_version='' simnic='' initramfs=''
# shellcheck source=/dev/null
. "$cache/boot.env" # written by prepare.sh: sets the three
image=$cache/kernel-$kernel_version/image

qemu_pid=''
own_out=''
# shellcheck disable=SC2317  # reached by the trap
clean_up() {
    [ -z "$qemu_pid" ] || kill "$qemu_pid" 2> /dev/null || true
    [ -z "$own_out" ] || rm -rf "$own_out"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

if [ -n "${LAB_OUT:-}" ]; then
    mkdir -p "$LAB_OUT"
    out=$(cd "$LAB_OUT" && pwd)
    rm -f "$out/status"
else
    out=$(mktemp -d "$cache/out.XXXXXX")
    own_out=$out
fi

printf 'modules=%q\ninit=%q\n' "$image/lib/modules" "$here/guest-init.sh" > "$out/boot"
{
    printf 'export LAB_DIR=%q LAB_SIMNIC=%q\n' "$here" "$cache/$simnic"
    printf 'cd %q\n' "$PWD"
    printf '%q ' "$@"
    echo
} > "$out/job"

# the emulated controllers share out queues and interrupts: two queues and one interrupt for each VF, and some for the PF
vfs=${LAB_VFS:-8}
sriov="sriov_max_vfs=$vfs,sriov_vq_flexible=$((2 * vfs)),sriov_vi_flexible=$vfs"
# an IOMMU, that vfio-pci takes VFs; whoever has no use for it is not slowed down by it (iommu=pt)
devices=()
for ((i = 1; i <= ${LAB_NICS:-2}; i++)); do
    devices+=(-device "pcie-root-port,id=port$i,chassis=$i,slot=$i")
    case ${LAB_NIC:-nvme} in
        nvme) # the only SR-IOV device that Debian 12's QEMU emulates; simnic makes a NIC of it
            devices+=(-device "nvme-subsys,id=subsystem$i,nqn=subsystem$i"
                -device "nvme,bus=port$i,serial=serial$i,subsys=subsystem$i,$sriov,max_ioqpairs=$((2 * vfs + 10)),msix_qsize=$((vfs + 9))") ;;
        igb)
            devices+=(-netdev "hubport,id=hub$i,hubid=1" -device "igb,bus=port$i,netdev=hub$i,mac=52:54:00:aa:00:0$i") ;;
        *)
            echo "lab: LAB_NIC is nvme or igb, not $LAB_NIC" >&2
            exit 2 ;;
    esac
done

# tsc=reliable: else the kernel takes HPET for its clock, each read of which leaves the emulated CPU: everything takes twice as long
# intremap=off: with QEMU's interrupt remapping one guest in a few never gets its timer's interrupts
# the serial console ends its lines with CR LF; the kernel's last line is not the job's
exec 3> >(exec sed -u -e 's/\r$//' -e '/^\[ *[0-9.]*\] reboot: Power down$/d')
sed_pid=$!
timeout --kill-after=5 "${LAB_TIMEOUT:-300}" "${LAB_QEMU:-qemu-system-x86_64}" \
    -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m "${LAB_MEM:-1024}" \
    -nodefaults -display none -serial stdio -monitor none -no-reboot \
    -kernel "$image/boot/vmlinuz-$kernel_version" -initrd "$cache/$initramfs" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off intel_iommu=on iommu=pt tsc=reliable" -device intel-iommu,intremap=off \
    -fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=root,mount_tag=hostroot \
    -fsdev "local,id=out,path=${out//,/,,},security_model=none" \
    -device virtio-9p-pci,fsdev=out,mount_tag=out \
    "${devices[@]}" < /dev/null >&3 &
qemu_pid=$!
exec 3>&-
qemu_status=0
wait "$qemu_pid" || qemu_status=$?
qemu_pid=''
wait "$sed_pid"

if [ "$qemu_status" != 0 ]; then
    echo "lab: QEMU ended with status $qemu_status (124: the time, ${LAB_TIMEOUT:-300} s, was over)"
    exit 98
fi
if ! [ -s "$out/status" ]; then
    echo "lab: the guest left no exit status"
    exit 99
fi
exit "$(< "$out/status")"
