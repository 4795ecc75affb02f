#include "parallel/dry_communicator.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace annulus::parallel {

DryCommunicator::DryCommunicator(int rank, int size) : Communicator(rank, size) {
  Check(rank >= 0 && rank < size, "rank {} of {}", rank, size);
}

std::vector<std::string> DryCommunicator::DoAllGatherText(const std::string& text) {
  return std::vector<std::string>(static_cast<size_t>(size()), text);
}

std::unique_ptr<Communicator> DryCommunicator::DoSubgroup(const std::vector<int>& members) {
  const auto self = std::find(members.begin(), members.end(), rank());
  return std::make_unique<DryCommunicator>(static_cast<int>(self - members.begin()),
                                           static_cast<int>(members.size()));
}

}  // namespace annulus::parallel
