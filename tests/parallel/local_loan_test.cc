// Loans between ranks as threads, and what becomes of them when a rank fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/base/error.h"
#include "parallel/local_communicator.h"
#include "parallel/resident_bytes.h"
#include "tests/parallel/error_of.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using testing::AllOf;
using testing::HasSubstr;
using namespace std::chrono_literals;

// Two ranks, of which rank 0 lends `kLent` floats to rank 1.
constexpr int64_t kLent = 1 << 20;

View Lendable(std::vector<float>& data) { return View(data.data(), DType::kF32, {kLent}); }

struct AtEnd {
  std::function<void()> action;
  ~AtEnd() { action(); }
};

// Else the borrower would read memory that has gone.
TEST(LocalLoan, ALenderThatUnwindsKeepsItsBlockUntilItIsReturned) {
  std::atomic<bool> open = false, returned = false;
  const auto body = [&](Communicator& world) {
    world.ShareMemory({0, 0});
    std::vector<float> data(kLent, world.rank() == 0 ? 1.0f : -1.0f);
    if (world.rank() == 0) {
      // Destroyed after the loan, as what it checks is.
      const AtEnd check{[&] { EXPECT_TRUE(returned); }};
      const Transfer transfer = world.Lend(Lendable(data), 1, 0);
      while (!open) std::this_thread::sleep_for(1ms);
      throw std::runtime_error("unwinding");
    }
    Loan loan = world.Borrow(Lendable(data), 0, 0);
    const ConstView block = loan.Open();
    open = true;
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(std::count(block.As<float>(), block.As<float>() + kLent, 1.0f), kLent);
    returned = true;
    loan.Return();
    EXPECT_EQ(ErrorOf<SystemError>([&] { world.Barrier(); }), "rank 0 failed: unwinding");
  };
  EXPECT_EQ(ErrorOf<std::runtime_error>([&] { RunRanks(2, body, 1h); }), "unwinding");
}

TEST(LocalLoan, ABorrowerThatUnwindsReturnsTheBlock) {
  const auto body = [&](Communicator& world) {
    world.ShareMemory({0, 0});
    std::vector<float> data(kLent);
    if (world.rank() == 0) {
      world.Lend(Lendable(data), 1, 0).Wait();
      EXPECT_EQ(ErrorOf<SystemError>([&] { world.Barrier(); }), "rank 1 failed: unwinding");
    } else {
      Loan loan = world.Borrow(Lendable(data), 0, 0);
      loan.Open();
      throw std::runtime_error("unwinding");
    }
  };
  EXPECT_EQ(ErrorOf<std::runtime_error>([&] { RunRanks(2, body, 1h); }), "unwinding");
}

// Both lend to each other, read and fail: neither may wait for the other with a block in its hands.
TEST(LocalLoan, RanksThatFailTogetherWhileTheyReadEachOtherEnd) {
  std::atomic<int> open = 0;
  const auto body = [&](Communicator& world) {
    world.ShareMemory({0, 0});
    std::vector<float> data(kLent);
    const int other = 1 - world.rank();
    const Transfer lent = world.Lend(Lendable(data), other, world.rank());
    Loan loan = world.Borrow(Lendable(data), other, other);
    loan.Open();
    ++open;
    while (open < 2) std::this_thread::sleep_for(1ms);
    throw std::runtime_error("unwinding");
  };
  EXPECT_EQ(ErrorOf<std::runtime_error>([&] { RunRanks(2, body, 1h); }), "unwinding");
}

// A lender that fails before anyone reads takes its offer back.
TEST(LocalLoan, ALoanThatIsTakenBackIsNotOpened) {
  const auto body = [&](Communicator& world) {
    world.ShareMemory({0, 0});
    std::vector<float> data(kLent);
    if (world.rank() == 0) {
      const Transfer transfer = world.Lend(Lendable(data), 1, 0);
      throw std::runtime_error("unwinding");
    }
    Loan loan = world.Borrow(Lendable(data), 0, 0);
    while (ErrorOf<SystemError>([&] { world.Progress(); }) == "no exception") {
      std::this_thread::sleep_for(1ms);
    }
    EXPECT_THAT(ErrorOf<SystemError>([&] { loan.Open(); }),
                testing::AnyOf(HasSubstr("rank 1: loan given up"), HasSubstr("rank 0 failed")));
  };
  EXPECT_EQ(ErrorOf<std::runtime_error>([&] { RunRanks(2, body, 1h); }), "unwinding");
}

TEST(LocalLoan, BothSidesOfALoanEndAtTheDeadlineAndNameThePeer) {
  for (const int rank : {0, 1}) {
    LocalGroup group(2, 30ms);
    const std::unique_ptr<Communicator> self = group.Join(rank);
    self->ShareMemory({0, 0});
    std::vector<float> data(kLent);
    const std::string error = ErrorOf<SystemError>([&] {
      if (rank == 0) {
        self->Lend(Lendable(data), 1, 0).Wait();
      } else {
        Loan loan = self->Borrow(Lendable(data), 0, 0);
        loan.Open();
      }
    });
    EXPECT_THAT(error, HasSubstr(rank == 0 ? "rank 0: return of a loan over threads: nothing was "
                                             "taken by rank 1 within 0.03 s"
                                           : "rank 1: loan over threads: nothing came from rank 0 "
                                             "within 0.03 s"));
    EXPECT_GE(self->counters().wait_ms, 30.0);
  }
}

TEST(LocalLoan, LoansAreChecked) {
  LocalGroup group(4, 10ms);
  const std::unique_ptr<Communicator> self = group.Join(0);
  std::vector<float> data(kLent);
  const View block = Lendable(data);
  const auto lend = [&](int to, int tag) {
    return ErrorOf<InternalError>([&] { self->Lend(block, to, tag); });
  };
  EXPECT_THAT(lend(1, 0), HasSubstr("share no memory"));
  self->ShareMemory({0, 0, 1, 1});
  EXPECT_THAT(lend(2, 0), HasSubstr("share no memory"));
  EXPECT_THAT(lend(0, 0), HasSubstr("share no memory"));
  EXPECT_THAT(lend(1, Exchange::kTags), HasSubstr("tag"));
  EXPECT_THROW(self->Lend(View(data.data(), DType::kF32, {0}), 1, 0), InternalError);
  EXPECT_THROW(self->ShareMemory({0, 0}), InternalError);
  Loan loan = self->Borrow(block, 1, 0);
  EXPECT_THROW(loan.Return(), InternalError);
  EXPECT_THROW(Loan().Open(), InternalError);
  const auto sizes = [&](Communicator& world) {
    world.ShareMemory({0, 0});
    if (world.rank() == 0) {
      world.Lend(block, 1, 0).Wait();
    } else {
      world.Borrow(block.Slice(0, 0, 5), 0, 0).Open();
    }
  };
  EXPECT_THAT(ErrorOf<InternalError>([&] { RunRanks(2, sizes, 60s); }),
              AllOf(HasSubstr("lends 4194304 bytes"), HasSubstr("expects 20")));
}

TEST(ResidentBytes, AreThoseOfTouchedPages) {
  const int64_t page = sysconf(_SC_PAGESIZE);
  void* const memory = mmap(nullptr, static_cast<size_t>(100 * page), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  madvise(memory, static_cast<size_t>(100 * page), MADV_NOHUGEPAGE);
  auto* const bytes = static_cast<char*>(memory);
  EXPECT_EQ(ResidentBytes(bytes, 100 * page), 0);
  for (const int64_t touched : {3, 4, 99}) bytes[touched * page + 7] = 1;
  EXPECT_EQ(ResidentBytes(bytes, 100 * page), 3 * page);
  EXPECT_EQ(ResidentBytes(bytes + 4 * page + 1, page), page);
  EXPECT_EQ(ResidentBytes(bytes + 5 * page, 94 * page), 0);
  munmap(memory, static_cast<size_t>(100 * page));
}

}  // namespace
}  // namespace annulus::parallel
