#include "tests/parallel/loan_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/parallel/suite_values.h"

namespace annulus::parallel {
namespace {

using kernels::DType;

// Lets ranks share memory as they can for as long as this lives, and holds some.
class Sharing {
 public:
  Sharing(Communicator& world, int64_t bytes) : world_(world) {
    world.ShareMemory(world.FindMemoryNodes());
    region_ = world.ReserveShared(bytes);
    if (region_ == nullptr) own_.resize(static_cast<size_t>(bytes));
  }
  ~Sharing() {
    region_.reset();
    world_.ShareMemory({});
  }
  Sharing(const Sharing&) = delete;
  Sharing& operator=(const Sharing&) = delete;

  View Floats(int64_t first, int64_t count) {
    char* data = region_ != nullptr ? static_cast<char*>(region_->data()) : own_.data();
    return View(data + 4 * first, DType::kF32, {count});
  }
  const SharedRegion* region() const { return region_.get(); }

 private:
  Communicator& world_;
  std::unique_ptr<SharedRegion> region_;
  std::vector<char> own_;
};

void Say(int rank, const View& view) {
  for (int64_t i = 0; i < view.size(); ++i) view.As<float>()[i] = Said(rank, i);
}

int64_t WrongOf(int rank, const ConstView& view) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < view.size(); ++i) wrong += view.As<float>()[i] != Said(rank, i) ? 1 : 0;
  return wrong;
}

}  // namespace

void LoansAreReadInPlace(Communicator& world) {
  constexpr int64_t kSize = 30011, kFirst = 1234;
  Sharing sharing(world, 4 * (kFirst + kSize));
  const View block = sharing.Floats(kFirst, kSize);
  const CommCounters before = world.counters();
  for (int round = 0; round < 20; ++round) {
    Say(world.rank() + 10 * round, block);
    std::vector<Transfer> lent;
    std::vector<Loan> borrowed;
    for (int distance = 1; distance < world.size(); ++distance) {
      const int to = Neighbour(world, distance), from = Neighbour(world, -distance);
      if (world.SharesMemory(world.rank(), to)) {
        lent.push_back(world.Lend(block, to, world.rank()));
      }
      if (world.SharesMemory(world.rank(), from)) {
        borrowed.push_back(world.Borrow(block, from, from));
      }
    }
    if (world.rank() % 2 == 1) std::reverse(borrowed.begin(), borrowed.end());
    for (size_t i = 0; i < borrowed.size(); ++i) {
      const size_t distance = world.rank() % 2 == 1 ? borrowed.size() - i : i + 1;
      const ConstView view = borrowed[i].Open();
      world.Progress();
      EXPECT_EQ(WrongOf(Neighbour(world, -static_cast<int>(distance)) + 10 * round, view), 0);
      borrowed[i].Return();
      borrowed[i].Return();
    }
    for (Transfer& transfer : lent) transfer.Wait();
  }
  EXPECT_EQ(world.counters().bytes_sent, before.bytes_sent);
  EXPECT_EQ(world.counters().messages, before.messages);
  if (sharing.region() != nullptr) {
    const int64_t pages = sharing.region()->peer_bytes_mapped();
    EXPECT_GE(pages, 4 * kSize * (world.size() - 1));
    EXPECT_LE(pages, (4 * (kFirst + kSize) + 2 * 4096) * (world.size() - 1));
  }
}

void SubgroupsShareMemoryToo(Communicator& world) {
  const std::unique_ptr<Communicator> before = world.Split(world.rank() % 2);
  EXPECT_TRUE(before->MemoryNodes().empty());
  Sharing sharing(world, 4000);
  const std::unique_ptr<Communicator> after = before->Split(0);
  const View block = sharing.Floats(0, 1000);
  Say(world.rank(), block);
  for (Communicator* group : {before.get(), after.get()}) {
    EXPECT_EQ(group->MemoryNodes().size(),
              static_cast<size_t>(group->size() > 1 ? group->size() : 0));
    if (group->size() == 1) continue;
    const int next = Neighbour(*group, 1), previous = Neighbour(*group, -1);
    Transfer lent = group->Lend(block, next, group->rank());
    Loan loan = group->Borrow(block, previous, previous);
    EXPECT_EQ(WrongOf(2 * previous + world.rank() % 2, loan.Open()), 0);
    loan.Return();
    lent.Wait();
  }
  world.Barrier();
}

void MemoryIsSharedAsSaid(Communicator& world) {
  std::vector<int> pairs;
  for (int rank = 0; rank < world.size(); ++rank) pairs.push_back(rank / 2);
  for (const int64_t bytes : {int64_t{64}, int64_t{1} << 20}) {
    world.ShareMemory(pairs);
    const int other = world.rank() ^ 1;
    for (int rank = 0; rank < world.size(); ++rank) {
      EXPECT_EQ(world.SharesMemory(world.rank(), rank), rank == world.rank() || rank == other);
    }
    std::unique_ptr<SharedRegion> region = world.ReserveShared(bytes);
    EXPECT_EQ(region ? region->bytes() : bytes, bytes);
    std::vector<float> own(16);
    const View block(region ? region->data() : own.data(), DType::kF32, {16});
    if (other < world.size()) {
      Say(world.rank(), block);
      Transfer lent = world.Lend(block, other, 0 + world.rank());
      Loan loan = world.Borrow(block, other, other);
      EXPECT_EQ(WrongOf(other, loan.Open()), 0);
      loan.Return();
      lent.Wait();
    }
    region.reset();
    world.ShareMemory({});
    EXPECT_EQ(world.SharesMemory(0, world.size() - 1), false);
  }
}

}  // namespace annulus::parallel
