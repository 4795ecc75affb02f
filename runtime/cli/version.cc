#include "runtime/cli/version.h"

namespace annulus::runtime {

std::string_view Version() { return ANNULUS_VERSION; }
std::string_view BuildType() { return ANNULUS_BUILD_TYPE; }

}  // namespace annulus::runtime
