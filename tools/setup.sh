# setup.sh - what ./quickstart and ./check share: messages, packages and build
# folders. Sourced by them, in bash.

# Names of files are bytes, and sorting must not depend on where we are.
export LC_ALL=C

say()
{
	printf '==> %s\n' "$*"
}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Packages that a C program with libpmem and its build need anywhere.
build_packages=(gcc libc6-dev meson ninja-build pkg-config libpmem-dev libpmem2-dev libjson-c-dev)

is_installed()
{
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif [ -t 2 ]; then
		sudo "$@"
	else
		sudo -n "$@" # nobody is there to type a password
	fi
}

# try_packages NAME...: install those that are missing. Where that cannot be done, say
# why, and fail.
try_packages()
{
	local missing=() name

	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		say "No apt-get here. Taking for granted what these Debian packages have: $*"
		return
	fi
	for name; do
		is_installed "$name" || missing+=("$name")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		say "Packages are missing, and only root may install them. As root:
	apt-get install ${missing[*]}"
		return 1
	fi
	say "Installing ${missing[*]}"
	as_root apt-get -qq -o DPkg::Lock::Timeout=60 update ||
		say "The lists of packages could not be updated. Trying with those there are."
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=60 \
		install --no-install-recommends "${missing[@]}" >/dev/null && return
	say "apt-get could not install ${missing[*]}; its messages are above"
	return 1
}

# need_packages NAME...: the same, and nothing goes on without them.
need_packages()
{
	try_packages "$@" || die "packages that are needed are missing"
}

# build_in FOLDER OPTION...: configure, or configure again, and compile; of it only what
# BUILD_ONLY names, if it does.
build_in()
{
	local folder=$1

	shift
	say "Building in $folder/"
	if [ ! -f "$folder/build.ninja" ] ||
	   ! meson setup --reconfigure "$folder" "$@" >/dev/null 2>&1; then
		# Never finished, or made for another place: begin again.
		rm -rf "$folder"
		meson setup "$folder" "$@" >"$folder.log" 2>&1 || {
			cat "$folder.log" >&2
			rm -f "$folder.log"
			return 1
		}
		rm -f "$folder.log"
	fi
	ninja -C "$folder" --quiet ${BUILD_ONLY:+"$BUILD_ONLY"}
}
