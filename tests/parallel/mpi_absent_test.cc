// What a build without MPI says when asked for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "parallel/mpi_communicator.h"

namespace annulus::parallel {
namespace {

TEST(MpiAbsent, ExplainsItself) {
  EXPECT_FALSE(MpiAvailable());
  EXPECT_EQ(MpiLibrary(), "");
  try {
    const MpiSession session;
    ADD_FAILURE() << "a session without MPI";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("-DANNULUS_MPI=ON"));
  }
}

}  // namespace
}  // namespace annulus::parallel
