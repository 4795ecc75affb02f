# shellcheck shell=bash
# Installs what building and testing annulus needs, where it is missing. Sourced by the scripts that
# a new user runs; expects Debian 12 or Ubuntu 24.04, or any system that has the packages already.

# What the build needs; MPI is optional to annulus but part of the tests. Debian's oneDNN asks CMake
# for OpenCL, which its package only recommends.
# shellcheck disable=SC2034  # for those who source this
annulus_packages=(
  build-essential cmake ninja-build pkg-config git
  libboost-program-options-dev libdnnl-dev ocl-icd-opencl-dev libhwy-dev libfmt-dev
  nlohmann-json3-dev libxxhash-dev libgtest-dev libgmock-dev libopenmpi-dev openmpi-bin python3)

# What the policies of the source tree check with.
# shellcheck disable=SC2034
annulus_policy_packages=(clang-format-14 shellcheck)

# Installs the packages named, those that are missing.
install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! command -v apt-get >/dev/null; then
    echo "annulus needs: ${missing[*]} (or what this system calls them)" >&2
    return 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "run as root or install: ${missing[*]}" >&2; return 1; }
    as_root=(sudo)
  fi
  echo "== installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
