#!/bin/sh
# init.sh - the first and only process of the guest. The host adds /modules, a list,
# and /job, the commands of this boot, made of the functions below. Lines for the
# host begin with '@'.
export PATH=/bin LD_LIBRARY_PATH=/lib

mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mkdir -p /tmp
exec >/dev/ttyS0 2>&1 </dev/null
while read -r module; do
	insmod "/modules.d/$module" || echo "@error insmod $module"
done </modules

# The kernel makes the devices while we run already.
wait_for()
{
	until [ -b "/dev/$1" ]; do
		usleep 20000
	done
}

# make_fs DEVICE OPTIONS: make a file system and mount it on /mnt/DEVICE.
make_fs()
{
	wait_for "$1"
	mkfs.ext4 -q -F -b 4096 -J size=4 "/dev/$1" || echo "@error mkfs $1"
	mount_fs "$1" "$2"
}

mount_fs()
{
	wait_for "$1"
	mkdir -p "/mnt/$1"
	mount -t ext4 -o "$2" "/dev/$1" "/mnt/$1" || echo "@error mount $1"
}

# What an NVDIMM without labels has to be made before a file system may map it.
make_namespace()
{
	wait_for pmem0
	ndctl create-namespace -m fsdax -e namespace0.0 -f >/dev/null || echo "@error ndctl"
}

# steps DEVICE: see steps.c. The file system is made for this alone.
steps()
{
	make_fs "$1" dax=always
	dax-guest steps "/mnt/$1/pool" || echo "@error steps"
	umount "/mnt/$1"
}

# verify NAME DEVICE OPTIONS SEED ACKNOWLEDGED...
verify()
{
	name=$1 device=$2 options=$3
	shift 3
	mount_fs "$device" "$options"
	dax-guest verify "/mnt/$device/pool" "$@"
	echo "@verified $name $?"
	umount "/mnt/$device"
}

# bad_block DEVICE: see bad.c; and what the tool says of it.
bad_block()
{
	make_fs "$1" dax=always
	pheap create --size 8M "/mnt/$1/fine" >/dev/null || echo "@error create"
	echo "@info $(pheap info --json "/mnt/$1/fine" | tr -d '\n')"
	dax-guest bad "/mnt/$1/pool" "/mnt/$1/other" "/sys/block/$1/badblocks" || echo "@error bad"
	for command in info check; do
		text=$(pheap $command "/mnt/$1/pool" 2>&1)
		echo "@tool $command $? $text"
	done
	umount "/mnt/$1"
}

. /job
echo "@done"
poweroff -f
